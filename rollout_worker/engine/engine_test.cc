#include "rollout_worker/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "model/model.h"
#include "model/test_models.h"
#include "model/tokenizer/test_tokenizers.h"

namespace hone::engine {
namespace {

using kernels::DType;
using kernels::KernelContext;
using testing::HasSubstr;

constexpr int kVocab = 61;
constexpr int kContext = 120;

// A tiny random model, ready to sample from.
struct TinyModel {
  TinyModel(model::ModelConfig c, DType dtype, int threads = 1)
      : config(std::move(c)), ctx(KernelContext::Create(threads)), weights(*ctx, config, dtype, /*for_training=*/true) {
    weights.LoadAll(model::LivelyParameters(config, 7));
  }
  std::unique_ptr<Engine> MakeEngine(const Engine::Options& options,
                                     const model::Tokenizer* tokenizer = nullptr) const {
    auto engine = Engine::Create(*ctx, weights, tokenizer, options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  model::ModelConfig config;
  std::unique_ptr<KernelContext> ctx;
  model::ComputeWeights weights;
};

std::vector<model::ModelConfig> Configs() {
  std::vector<model::ModelConfig> configs;
  for (model::NamedConfig& named : model::TinyConfigs(32, 4, 2, 16, 48, kVocab, 2)) {
    named.config.max_positions = kContext;
    named.config.eos_token_ids = {3};
    configs.push_back(named.config);
  }
  return configs;
}

GroupRequest RandomRequest(std::mt19937* random, uint64_t id) {
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(*random); };
  GroupRequest request;
  request.stream = id;
  request.key = kernels::StreamKey(5, "rl");
  request.prompt = model::RandomTokens(random, draw(1, 50), kVocab);
  request.samples = draw(1, 5);
  request.max_new_tokens = draw(1, 40);
  const float temperatures[] = {0.0f, 0.7f, 1.0f, 1.0f, 1.5f};
  request.sampling.temperature = temperatures[draw(0, 4)];
  if (draw(0, 2) == 0) request.sampling.top_k = draw(1, 20);
  if (draw(0, 2) == 0) request.sampling.top_p = 0.8f;
  if (draw(0, 3) == 0) request.sampling.min_p = 0.02f;
  if (draw(0, 2) == 0) request.min_new_tokens = draw(0, request.max_new_tokens);
  if (draw(0, 2) == 0) request.stop_token_ids = {draw(4, kVocab - 1)};
  return request;
}

// With penalties, forced tokens and tokens taken away again.
GroupRequest RandomControlledRequest(std::mt19937* random, uint64_t id) {
  GroupRequest request = RandomRequest(random, id);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(*random); };
  request.max_new_tokens = draw(10, 60);
  request.min_new_tokens = 0;
  if (draw(0, 1) == 0) request.logits.bias = {{draw(0, kVocab - 1), 1.5f}, {3, -2.0f}};
  if (draw(0, 1) == 0) request.logits.repetition_penalty = 1.2f;
  if (draw(0, 1) == 0) request.logits.presence_penalty = 0.4f;
  if (draw(0, 1) == 0) request.logits.frequency_penalty = 0.3f;
  request.prompt_opens_thinking = draw(0, 1) == 0;
  request.thinking.begin = draw(0, 1) == 0 ? "" : "w7";
  // The end is any word that begins with its digit, or a word and the beginning of the next.
  request.thinking.end = draw(0, 1) == 0 ? "w2" : "1 w";
  request.thinking.ignore_ends = draw(0, 3);
  request.thinking.max_tokens = draw(0, 1) == 0 ? 0 : draw(3, 30);
  request.thinking.wait_text = "w8 w9";
  request.thinking.answer_cue = " w10 w11";
  request.thinking.switch_words = {"w12", "w13"};
  request.thinking.switch_penalty = draw(0, 1) == 0 ? 0 : 1.0f;
  request.thinking.switch_window = draw(1, 20);
  if (draw(0, 2) == 0) request.stop_strings = {"w3" + std::to_string(draw(0, 9)), "9 w9"};
  return request;
}

std::map<uint64_t, GroupResult> RunAll(Engine* engine, const std::vector<GroupRequest>& requests) {
  std::map<uint64_t, GroupResult> results;
  for (const GroupRequest& request : requests) {
    const auto handle = engine->SubmitGroup(request);
    EXPECT_TRUE(handle.ok()) << handle.status();
  }
  while (!engine->idle()) {
    for (GroupResult& result : engine->Step()) results.emplace(result.stream, std::move(result));
  }
  return results;
}

void ExpectSame(const GroupResult& a, const GroupResult& b, const std::string& where) {
  ASSERT_EQ(a.samples.size(), b.samples.size()) << where;
  for (size_t i = 0; i < a.samples.size(); ++i) {
    ASSERT_EQ(a.samples[i].tokens, b.samples[i].tokens) << where << ", sample " << i;
    ASSERT_EQ(a.samples[i].logprobs, b.samples[i].logprobs) << where << ", sample " << i;  // bit for bit
    ASSERT_EQ(a.samples[i].forced, b.samples[i].forced) << where << ", sample " << i;
    ASSERT_EQ(a.samples[i].finish, b.samples[i].finish) << where << ", sample " << i;
  }
}

std::vector<GroupRequest> RandomRequests(uint32_t seed, int count) {
  std::mt19937 random(seed);
  std::vector<GroupRequest> requests;
  for (int i = 0; i < count; ++i) {
    const uint64_t id = 1000 + static_cast<uint64_t>(i);
    requests.push_back(i % 3 == 2 ? RandomControlledRequest(&random, id) : RandomRequest(&random, id));
  }
  return requests;
}

class EngineTest : public testing::TestWithParam<std::tuple<int, DType>> {
 protected:
  model::ModelConfig config() const { return Configs()[static_cast<size_t>(std::get<0>(GetParam()))]; }
  DType dtype() const { return std::get<1>(GetParam()); }
};

TEST_P(EngineTest, CompanyChunksPagesBudgetAndThreadsLeaveNoTrace) {
  const TinyModel tiny(config(), dtype());
  const auto tokenizer = model::NumberedWords(kVocab);
  const std::vector<GroupRequest> requests = RandomRequests(11, 36);
  std::map<uint64_t, GroupResult> alone;
  for (const GroupRequest& request : requests)
    alone.merge(RunAll(tiny.MakeEngine({.max_batch_sequences = 8}, tokenizer.get()).get(), {request}));
  const int64_t page_bytes = static_cast<int64_t>(model::KvCache::BytesPerPage(tiny.config, dtype(), 16));
  const TinyModel two_threads(config(), dtype(), 2);
  const Engine::Options settings[] = {
      {.page_tokens = 16, .max_batch_sequences = 64, .max_batch_tokens = 4096},
      {.page_tokens = 32, .max_batch_sequences = 3, .max_batch_tokens = 5},
      {.page_tokens = 16, .kv_cache_bytes = 14 * page_bytes, .max_batch_sequences = 16, .max_batch_tokens = 33},
      {.page_tokens = 64, .max_batch_sequences = 1, .max_batch_tokens = 1},
  };
  int64_t preemptions = 0;
  for (size_t s = 0; s < std::size(settings); ++s) {
    const auto engine = (s % 2 == 0 ? tiny : two_threads).MakeEngine(settings[s], tokenizer.get());
    std::vector<GroupRequest> shuffled = requests;
    std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(static_cast<uint32_t>(s)));
    const auto together = RunAll(engine.get(), shuffled);
    ASSERT_EQ(together.size(), requests.size());
    for (const GroupRequest& request : requests) {
      ExpectSame(alone.at(request.stream), together.at(request.stream),
                 "setting " + std::to_string(s) + ", group " + std::to_string(request.stream));
    }
    preemptions += engine->stats().preemptions;
  }
  EXPECT_GT(preemptions, 0);
  int64_t forced = 0;
  for (const auto& [stream, result] : alone) {
    for (const SampledCompletion& sample : result.samples) {
      forced += std::accumulate(sample.forced.begin(), sample.forced.end(), int64_t{0});
    }
  }
  EXPECT_GT(forced, 20);
}

TEST_P(EngineTest, LogProbsEqualTheLearnersAndScores) {
  const TinyModel tiny(config(), dtype());
  const auto tokenizer = model::NumberedWords(kVocab);
  const std::vector<GroupRequest> requests = RandomRequests(23, 18);
  const auto engine =
      tiny.MakeEngine({.page_tokens = 16, .max_batch_sequences = 16, .max_batch_tokens = 40}, tokenizer.get());
  const auto results = RunAll(engine.get(), requests);
  model::TrainingModel learner(*tiny.ctx, tiny.weights);
  int64_t compared = 0;
  for (const GroupRequest& request : requests) {
    const float temperature = request.sampling.temperature > 0 ? request.sampling.temperature : 1.0f;
    std::vector<std::vector<int32_t>> sequences;
    std::vector<float> expected;
    model::PackedSequences batch;
    batch.starts.push_back(0);
    for (const SampledCompletion& sample : results.at(request.stream).samples) {
      std::vector<int32_t> all = request.prompt;
      all.insert(all.end(), sample.tokens.begin(), sample.tokens.end());
      const auto sampled = [&](size_t i) { return sample.forced.empty() || sample.forced[i] == 0; };
      for (size_t i = 0; i < all.size(); ++i) {
        batch.tokens.push_back(all[i]);
        const bool target =
            i + 1 >= request.prompt.size() && i + 1 < all.size() && sampled(i + 1 - request.prompt.size());
        batch.targets.push_back(target ? all[i + 1] : -1);
      }
      batch.starts.push_back(static_cast<int64_t>(batch.tokens.size()));
      const auto scores = engine->Score(request.prompt, sample.tokens, temperature);
      ASSERT_TRUE(scores.ok()) << scores.status();
      for (size_t i = 0; i < sample.tokens.size(); ++i) {
        EXPECT_EQ(sample.logprobs[i], sampled(i) ? scores->logprobs[i] : 0);
        if (sampled(i)) expected.push_back(sample.logprobs[i]);
      }
    }
    std::vector<float> logprobs, entropies;
    learner.Forward(batch, temperature, false, &logprobs, &entropies);
    EXPECT_EQ(logprobs, expected) << "group " << request.stream;  // difference exactly 0
    compared += static_cast<int64_t>(logprobs.size());
  }
  EXPECT_GT(compared, 300);
}

TEST_P(EngineTest, EachTokenIsTheDrawFromItsPrefix) {
  const TinyModel tiny(config(), dtype());
  const auto engine = tiny.MakeEngine({.page_tokens = 16, .max_batch_sequences = 4, .max_batch_tokens = 8});
  std::mt19937 random(3);
  GroupRequest request = RandomRequest(&random, 42);
  request.samples = 3;
  request.max_new_tokens = 12;
  request.min_new_tokens = 4;
  request.sampling = {.temperature = 1.3f, .top_k = 0, .top_p = 0.95f, .min_p = 0};
  const auto results = RunAll(engine.get(), {request});
  std::vector<uint8_t> banned(kVocab, 0);
  banned[3] = 1;
  for (const int32_t token : request.stop_token_ids) banned[static_cast<size_t>(token)] = 1;
  for (uint32_t sample = 0; sample < 3; ++sample) {
    std::vector<int32_t> prefix = request.prompt;
    const auto& tokens = results.at(42).samples[sample].tokens;
    for (uint32_t position = 0; position < tokens.size(); ++position) {
      model::InferenceModel model(*tiny.ctx, tiny.weights);
      model::KvCache cache(tiny.config, dtype(), 16, 8);
      const int32_t pages[] = {0, 1, 2, 3, 4, 5, 6, 7};
      std::vector<float> hidden(static_cast<size_t>(tiny.config.hidden_size)), logits(kVocab);
      const int64_t row = static_cast<int64_t>(prefix.size()) - 1;
      const model::Chunk chunk = {.tokens = prefix, .position = 0, .pages = pages};
      model.Forward({&chunk, 1}, {&row, 1}, &cache, hidden.data());
      model.Logits(hidden.data(), 1, logits.data());
      const int32_t expected = kernels::Sample(logits.data(), kVocab, request.sampling,
                                               kernels::SamplingUniform(request.key, 42, sample, position),
                                               position < 4 ? banned.data() : nullptr);
      ASSERT_EQ(tokens[position], expected) << "sample " << sample << ", position " << position;
      prefix.push_back(expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EngineTest,
                         testing::Combine(testing::Range(0, static_cast<int>(Configs().size())),
                                          testing::Values(DType::kF32, DType::kBf16)));

// ------------------------------------------------------------------------------------------------ ends

class StopTest : public testing::Test {
 protected:
  StopTest() : tiny_(Configs()[0], DType::kF32), tokenizer_(model::NumberedWords(kVocab)) {
    request_ = {.stream = 1, .key = 2, .prompt = {5, 6, 7}, .samples = 16, .max_new_tokens = 60};
  }
  GroupResult Run(const GroupRequest& request) {
    const auto engine = tiny_.MakeEngine({.page_tokens = 16, .max_batch_sequences = 16}, tokenizer_.get());
    return std::move(RunAll(engine.get(), {request}).at(request.stream));
  }
  absl::Status Refused(GroupRequest request) {
    return tiny_.MakeEngine({.page_tokens = 16})->SubmitGroup(std::move(request)).status();
  }
  TinyModel tiny_;
  std::unique_ptr<model::Tokenizer> tokenizer_;
  GroupRequest request_;
};

TEST_F(StopTest, EndsAtTheFirstEndOfSequenceOrAtTheLimit) {
  std::map<FinishReason, int> seen;
  for (const SampledCompletion& sample : Run(request_).samples) {
    ++seen[sample.finish];
    const auto eos = std::find(sample.tokens.begin(), sample.tokens.end(), 3);
    if (sample.finish == FinishReason::kEndOfSequence) {
      EXPECT_EQ(eos + 1, sample.tokens.end());
    } else {
      EXPECT_EQ(eos, sample.tokens.end());
      EXPECT_EQ(sample.tokens.size(), 60u);
    }
    EXPECT_EQ(sample.tokens.size(), sample.logprobs.size());
  }
  EXPECT_GT(seen[FinishReason::kEndOfSequence], 0);
  EXPECT_GT(seen[FinishReason::kLength], 0);
}

TEST_F(StopTest, NothingEndsItBeforeMinNewTokens) {
  request_.min_new_tokens = 30;
  request_.stop_token_ids = {9};
  int stopped = 0;
  for (const SampledCompletion& sample : Run(request_).samples) {
    EXPECT_GE(sample.tokens.size(), 30u);
    for (size_t i = 0; i < 30; ++i) EXPECT_TRUE(sample.tokens[i] != 3 && sample.tokens[i] != 9) << i;
    stopped += sample.finish == FinishReason::kStopToken;
  }
  EXPECT_GT(stopped, 0);
}

TEST_F(StopTest, StopStringsMaySpanTokens) {
  const GroupResult free = Run(request_);
  // A stop string made of what a free sample says: the end of one token and the beginning of the next.
  const auto& tokens = free.samples[0].tokens;
  ASSERT_GE(tokens.size(), 4u);
  const std::string stop = std::to_string(tokens[1]) + " w" + std::to_string(tokens[2]);
  request_.stop_strings = {"not to be found", stop};
  int stopped = 0;
  for (const SampledCompletion& sample : Run(request_).samples) {
    const std::string text = tokenizer_->Decode(sample.tokens);
    if (sample.finish != FinishReason::kStopString) {
      EXPECT_THAT(text, testing::Not(HasSubstr(stop)));
      continue;
    }
    ++stopped;
    const std::string before = tokenizer_->Decode(std::span(sample.tokens).first(sample.tokens.size() - 1));
    EXPECT_THAT(text, HasSubstr(stop));
    EXPECT_THAT(before, testing::Not(HasSubstr(stop)));
  }
  EXPECT_GT(stopped, 0);
}

TEST_F(StopTest, TheContextEndsIt) {
  request_.prompt.assign(kContext - 5, 6);
  request_.min_new_tokens = 0;
  request_.max_new_tokens = 50;
  for (const SampledCompletion& sample : Run(request_).samples) {
    EXPECT_LE(sample.tokens.size(), 5u);
    if (sample.finish == FinishReason::kLength) {
      EXPECT_EQ(sample.tokens.size(), 5u);
    }
  }
}

TEST_F(StopTest, BadRequestsNameTheField) {
  const auto message = [&](auto change) {
    GroupRequest request = request_;
    change(&request);
    return std::string(Refused(request).message());
  };
  EXPECT_THAT(message([](GroupRequest* r) { r->prompt.clear(); }), HasSubstr("prompt"));
  EXPECT_THAT(message([](GroupRequest* r) { r->prompt.assign(kContext, 1); }), HasSubstr("context of 120, got 120"));
  EXPECT_THAT(message([](GroupRequest* r) { r->prompt = {kVocab}; }), HasSubstr("[0, 61), got 61"));
  EXPECT_THAT(message([](GroupRequest* r) { r->stop_token_ids = {-1}; }), HasSubstr("stop_token_ids"));
  EXPECT_THAT(message([](GroupRequest* r) { r->samples = 0; }), HasSubstr("samples"));
  EXPECT_THAT(message([](GroupRequest* r) { r->max_new_tokens = 0; }), HasSubstr("max_new_tokens"));
  EXPECT_THAT(message([](GroupRequest* r) { r->min_new_tokens = 61; }), HasSubstr("min_new_tokens"));
  EXPECT_THAT(message([](GroupRequest* r) { r->sampling.temperature = -1; }), HasSubstr("temperature"));
  EXPECT_THAT(message([](GroupRequest* r) { r->sampling.top_p = 0; }), HasSubstr("top_p"));
  EXPECT_THAT(message([](GroupRequest* r) { r->sampling.min_p = 2; }), HasSubstr("min_p"));
  EXPECT_THAT(message([](GroupRequest* r) { r->sampling.top_k = -1; }), HasSubstr("top_k"));
  EXPECT_THAT(message([](GroupRequest* r) { r->stop_strings = {""}; }), HasSubstr("stop"));
  EXPECT_THAT(message([](GroupRequest* r) { r->stop_strings = {"x"}; }), HasSubstr("tokenizer"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.max_tokens = 3; }), HasSubstr("tokenizer"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.max_tokens = -1; }), HasSubstr("thinking.max_tokens"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.ignore_ends = -1; }), HasSubstr("thinking.ignore_ends"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.end = ""; }), HasSubstr("thinking.end"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.wait_text = "so </think>"; }), HasSubstr("thinking.wait_text"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.answer_cue.assign(5000, 'x'); }),
              HasSubstr("at most 4096 bytes"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.switch_penalty = -1; }), HasSubstr("thinking.switch_penalty"));
  EXPECT_THAT(message([](GroupRequest* r) { r->thinking.switch_words = {""}; }), HasSubstr("thinking.switch_words"));
  EXPECT_THAT(message([](GroupRequest* r) { r->logits.repetition_penalty = 0; }), HasSubstr("repetition_penalty"));
  EXPECT_THAT(message([](GroupRequest* r) { r->logits.presence_penalty = 101; }), HasSubstr("presence_penalty"));
  EXPECT_THAT(message([](GroupRequest* r) { r->logits.frequency_penalty = NAN; }), HasSubstr("frequency_penalty"));
  EXPECT_THAT(message([](GroupRequest* r) { r->logits.bias = {{kVocab, 1.0f}}; }), HasSubstr("[0, 61), got 61"));
  EXPECT_THAT(message([](GroupRequest* r) { r->logits.bias = {{1, INFINITY}}; }), HasSubstr("logit_bias.bias"));
}

TEST_F(StopTest, ForcedTokensStandInTheCompletionAndCountTowardsItsLimit) {
  request_.sampling.temperature = 1;
  request_.logits.bias = {{3, -100.0f}};  // no end of sequence
  request_.thinking = {.max_tokens = 5, .answer_cue = " w50 w51", .begin = "", .end = "w60"};
  request_.logits.bias.emplace_back(60, -100.0f);
  const std::vector<int32_t> end = {60, 50, 51};
  for (const SampledCompletion& sample : Run(request_).samples) {
    ASSERT_EQ(sample.tokens.size(), 60u);
    EXPECT_EQ(std::vector<int32_t>(sample.tokens.begin() + 5, sample.tokens.begin() + 8), end);
    for (size_t i = 0; i < 60; ++i) EXPECT_EQ(sample.forced[i], i >= 5 && i < 8) << i;
  }
  request_.max_new_tokens = 7;  // in the middle of what is forced
  for (const SampledCompletion& sample : Run(request_).samples) {
    ASSERT_EQ(sample.tokens.size(), 7u);
    EXPECT_EQ(sample.finish, FinishReason::kLength);
    EXPECT_EQ(sample.tokens[6], 50);
  }
}

// A token that would end the sequence inside of a thought is ignored, and then answered by the end of thinking.
TEST_F(StopTest, AnEndOfSequenceInsideOfAThoughtEndsTheThoughtAlone) {
  request_.logits.bias = {{3, 100.0f}};  // nothing else is sampled
  request_.thinking = {.ignore_ends = 2, .wait_text = "w40", .begin = "", .end = "w60"};
  for (const SampledCompletion& sample : Run(request_).samples) {
    EXPECT_EQ(sample.tokens, (std::vector<int32_t>{40, 40, 60, 3}));
    EXPECT_EQ(sample.forced, (std::vector<uint8_t>{1, 1, 1, 0}));
    EXPECT_EQ(sample.finish, FinishReason::kEndOfSequence);
  }
}

TEST_F(StopTest, PenaltiesChangeWhatIsDrawnButNotLogProbs) {
  request_.max_new_tokens = 40;
  const auto repetitions_of_all = [&] {
    int64_t repetitions = 0;
    for (const SampledCompletion& sample : Run(request_).samples) {
      const std::set<int32_t> distinct(sample.tokens.begin(), sample.tokens.end());
      repetitions += static_cast<int64_t>(sample.tokens.size() - distinct.size());
    }
    return repetitions;
  };
  request_.logits.bias = {{3, -100.0f}};
  const int64_t free = repetitions_of_all();
  request_.logits.frequency_penalty = 100;
  EXPECT_EQ(repetitions_of_all(), 0);
  request_.logits.frequency_penalty = 0;
  request_.logits.presence_penalty = 100;
  EXPECT_EQ(repetitions_of_all(), 0);
  request_.logits.presence_penalty = 0;
  request_.logits.repetition_penalty = 1.5f;
  EXPECT_LT(repetitions_of_all(), free);
}

TEST_F(StopTest, CancelledGroupsLeaveNothing) {
  const auto engine = tiny_.MakeEngine({.page_tokens = 16, .max_batch_sequences = 4});
  const int64_t handle = engine->SubmitGroup(request_).value();
  engine->Step();
  engine->Step();
  engine->Cancel(handle);
  EXPECT_TRUE(engine->idle());
  EXPECT_EQ(engine->stats().kv_use, 0);
  EXPECT_TRUE(engine->Step().empty());
}

TEST(EngineOptionsTest, AreChecked) {
  const TinyModel tiny(Configs()[0], DType::kF32);
  const auto message = [&](const Engine::Options& options) {
    return std::string(Engine::Create(*tiny.ctx, tiny.weights, nullptr, options).status().message());
  };
  EXPECT_THAT(message({.page_tokens = 17}), HasSubstr("page_tokens: expected a positive multiple of 16, got 17"));
  EXPECT_THAT(message({.kv_cache_bytes = 100}), HasSubstr("kv_cache_bytes"));
  EXPECT_THAT(message({.max_batch_sequences = 0}), HasSubstr("max_batch_sequences"));
}

}  // namespace
}  // namespace hone::engine
