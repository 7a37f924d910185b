// Rollout's paged, chunked, batched forward pass and the learner's packed one give the same bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "model/model.h"
#include "model/test_models.h"

namespace hone::model {
namespace {

using kernels::DType;
using kernels::KernelContext;

using Sequences = std::vector<std::vector<int32_t>>;

// A V above kVocabTile and one sequence above kSegmentTokens: partials are merged on both sides.
std::vector<NamedConfig> Configs() {
  std::vector<NamedConfig> configs = TinyConfigs(48, 4, 2, 16, 80, 101, 2);
  NamedConfig wide{"wide", configs[0].config};
  wide.config.vocab_size = 2500;
  wide.config.head_dim = 24;
  wide.config.kv_heads = 1;
  configs.push_back(wide);
  return configs;
}

Sequences RandomSequences(std::mt19937* random, const ModelConfig& config) {
  Sequences sequences;
  for (int length : {1, 2, 15, 16, 17, 33, 70, 300})
    sequences.push_back(RandomTokens(random, length, config.vocab_size));
  std::shuffle(sequences.begin(), sequences.end(), *random);
  return sequences;
}

std::vector<float> TrainingLogprobs(const KernelContext& ctx, const ComputeWeights& weights, const Sequences& sequences,
                                    float temperature, bool keep) {
  TrainingModel model(ctx, weights);
  std::vector<float> logprobs, entropies;
  model.Forward(Pack(sequences), temperature, keep, &logprobs, &entropies);
  return logprobs;
}

// The log-prob of every token but each sequence's first, by an engine that takes random sequences in random company and
// cuts them at random places, often after one token.
std::vector<float> RolloutLogprobs(const KernelContext& ctx, const ComputeWeights& weights, const Sequences& sequences,
                                   float temperature, int page_tokens, std::mt19937* random) {
  const ModelConfig& config = weights.config();
  std::vector<std::vector<int32_t>> pages(sequences.size());
  std::vector<int32_t> free_pages(64 * 16 / page_tokens * 2);
  for (size_t i = 0; i < free_pages.size(); ++i) free_pages[i] = static_cast<int32_t>(i);
  std::shuffle(free_pages.begin(), free_pages.end(), *random);
  KvCache cache(config, weights.dtype(), page_tokens, static_cast<int>(free_pages.size()));
  InferenceModel model(ctx, weights);
  std::vector<size_t> done(sequences.size(), 0);
  std::vector<std::vector<float>> logprobs(sequences.size());
  const auto unfinished = [&](size_t s) { return done[s] < sequences[s].size(); };
  while (true) {
    std::vector<size_t> order;
    for (size_t s = 0; s < sequences.size(); ++s) {
      if (unfinished(s) && (*random)() % 3 != 0) order.push_back(s);
    }
    if (order.empty()) {
      bool any = false;
      for (size_t s = 0; s < sequences.size(); ++s) any |= unfinished(s);
      if (!any) break;
      continue;
    }
    std::shuffle(order.begin(), order.end(), *random);
    std::vector<Chunk> chunks;
    std::vector<int64_t> rows;
    std::vector<int32_t> targets;
    std::vector<size_t> owners;
    int64_t first_row = 0;
    for (size_t s : order) {
      const size_t left = sequences[s].size() - done[s];
      const size_t count = std::min<size_t>(left, (*random)() % 2 == 0 ? 1 : 1 + (*random)() % 40);
      while (pages[s].size() * page_tokens < done[s] + count) {
        pages[s].push_back(free_pages.back());
        free_pages.pop_back();
      }
      chunks.push_back({std::span<const int32_t>(sequences[s]).subspan(done[s], count), static_cast<int32_t>(done[s]),
                        pages[s].data()});
      for (size_t i = 0; i < count; ++i) {
        if (done[s] + i + 1 == sequences[s].size()) continue;
        rows.push_back(first_row + static_cast<int64_t>(i));
        targets.push_back(sequences[s][done[s] + i + 1]);
        owners.push_back(s);
      }
      first_row += static_cast<int64_t>(count);
      done[s] += count;
    }
    std::vector<float> hidden(rows.size() * config.hidden_size), logits(rows.size() * config.vocab_size),
        out(rows.size());
    model.Forward(chunks, rows, &cache, hidden.data());
    model.Logits(hidden.data(), rows.size(), logits.data());
    kernels::LogProb(ctx, logits.data(), config.vocab_size, rows.size(), config.vocab_size, temperature, targets.data(),
                     out.data(), nullptr, nullptr);
    for (size_t i = 0; i < rows.size(); ++i) logprobs[owners[i]].push_back(out[i]);
  }
  std::vector<float> all;
  for (const auto& sequence : logprobs) all.insert(all.end(), sequence.begin(), sequence.end());
  return all;
}

void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::isfinite(a[i])) << i;
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i])) << i << ": " << a[i] << " vs " << b[i];
  }
}

class EqualityTest : public testing::TestWithParam<DType> {};

TEST_P(EqualityTest, RolloutEqualsTraining) {
  std::mt19937 random(7);
  const auto one_thread = KernelContext::Create(1);
  for (const NamedConfig& named : Configs()) {
    SCOPED_TRACE(named.name);
    const FlatTensor masters = LivelyParameters(named.config, 11);
    const Sequences sequences = RandomSequences(&random, named.config);
    ComputeWeights weights(*one_thread, named.config, GetParam(), /*for_training=*/true);
    weights.LoadAll(masters);
    const std::vector<float> training = TrainingLogprobs(*one_thread, weights, sequences, 0.8f, true);
    int threads = 1;
    for (int page_tokens : {16, 32, 64}) {
      SCOPED_TRACE(page_tokens);
      const auto ctx = KernelContext::Create(threads);
      threads = threads % 3 + 1;
      ComputeWeights rollout_weights(*ctx, named.config, GetParam(), /*for_training=*/false);
      rollout_weights.LoadAll(masters);
      ExpectSameBits(RolloutLogprobs(*ctx, rollout_weights, sequences, 0.8f, page_tokens, &random), training);
    }
  }
}

TEST_P(EqualityTest, TrainingDoesNotSeeCompanyThreadsOrKeeping) {
  std::mt19937 random(8);
  const auto one_thread = KernelContext::Create(1), three_threads = KernelContext::Create(3);
  for (const NamedConfig& named : Configs()) {
    SCOPED_TRACE(named.name);
    const FlatTensor masters = LivelyParameters(named.config, 12);
    const Sequences sequences = RandomSequences(&random, named.config);
    ComputeWeights weights(*one_thread, named.config, GetParam(), true);
    ComputeWeights same_weights(*three_threads, named.config, GetParam(), false);
    weights.LoadAll(masters);
    same_weights.LoadAll(masters);
    const std::vector<float> together = TrainingLogprobs(*one_thread, weights, sequences, 1.0f, true);
    ExpectSameBits(TrainingLogprobs(*three_threads, same_weights, sequences, 1.0f, false), together);
    std::vector<float> alone;
    for (const auto& sequence : sequences) {
      const std::vector<float> part = TrainingLogprobs(*one_thread, weights, {sequence}, 1.0f, false);
      alone.insert(alone.end(), part.begin(), part.end());
    }
    ExpectSameBits(alone, together);
  }
}

// An unpredicted row changes nothing for the others: the last layer leaves it out.
TEST_P(EqualityTest, RowsWithoutTargetLeaveNoTrace) {
  std::mt19937 random(9);
  const auto ctx = KernelContext::Create(2);
  const ModelConfig config = Configs()[3].config;
  ComputeWeights weights(*ctx, config, GetParam(), true);
  weights.LoadAll(LivelyParameters(config, 13));
  const Sequences sequences = {RandomTokens(&random, 40, config.vocab_size),
                               RandomTokens(&random, 25, config.vocab_size)};
  TrainingModel model(*ctx, weights);
  std::vector<float> all, some, entropies;
  model.Forward(Pack(sequences), 1.0f, true, &all, &entropies);
  model.Forward(Pack(sequences, 10), 1.0f, true, &some, &entropies);
  std::vector<float> expected(all.begin() + 10, all.begin() + 39);
  expected.insert(expected.end(), all.begin() + 39 + 10, all.end());
  ExpectSameBits(some, expected);
  PackedSequences none = Pack(sequences);
  std::fill(none.targets.begin(), none.targets.end(), -1);
  model.Forward(none, 1.0f, true, &some, &entropies);
  EXPECT_TRUE(some.empty());
}

TEST_P(EqualityTest, OneBitOfOneWeightShows) {
  std::mt19937 random(10);
  const auto ctx = KernelContext::Create(2);
  for (const NamedConfig& named : TinyConfigs(32, 4, 2, 8, 48, 60, 2)) {
    FlatTensor masters = LivelyParameters(named.config, 14);
    const Sequences sequences = {RandomTokens(&random, 60, named.config.vocab_size)};
    ComputeWeights weights(*ctx, named.config, GetParam(), false);
    weights.LoadAll(masters);
    const std::vector<float> before = TrainingLogprobs(*ctx, weights, sequences, 1.0f, false);
    const ParameterLayout layout(named.config);
    for (const ParameterInfo& entry : layout.entries()) {
      // The highest bit of a mantissa (a lower one of a small weight may drown in bf16 rounding), of an entry that is
      // used: an embedding row of a token that occurs.
      const bool embedding = entry.name == "model.embed_tokens.weight";
      const int64_t row = embedding ? sequences[0][5] : 0;
      float& value = masters[entry.offset + row * named.config.hidden_size];
      const float old = value;
      value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ (1u << 22));
      weights.LoadAll(masters);
      EXPECT_NE(TrainingLogprobs(*ctx, weights, sequences, 1.0f, false), before) << named.name << " " << entry.name;
      value = old;
    }
    weights.LoadAll(masters);
    ExpectSameBits(TrainingLogprobs(*ctx, weights, sequences, 1.0f, false), before);
  }
}

TEST_P(EqualityTest, WeightsArriveTensorByTensorInAnyOrder) {
  std::mt19937 random(11);
  const auto ctx = KernelContext::Create(1);
  for (const NamedConfig& named : TinyConfigs(32, 4, 2, 8, 48, 60, 2)) {
    const FlatTensor masters = LivelyParameters(named.config, 15);
    const Sequences sequences = {RandomTokens(&random, 30, named.config.vocab_size)};
    ComputeWeights whole(*ctx, named.config, GetParam(), false), parts(*ctx, named.config, GetParam(), false);
    whole.LoadAll(masters);
    std::vector<ParameterInfo> entries = ParameterLayout(named.config).entries();
    for (int pass = 0; pass < 2; ++pass) {
      std::shuffle(entries.begin(), entries.end(), random);
      for (const ParameterInfo& entry : entries) {
        ASSERT_TRUE(parts.LoadTensor(entry.name, masters.data() + entry.offset, entry.size).ok());
      }
      ExpectSameBits(TrainingLogprobs(*ctx, parts, sequences, 1.0f, false),
                     TrainingLogprobs(*ctx, whole, sequences, 1.0f, false));
    }
    EXPECT_EQ(parts.LoadTensor("model.nowhere", masters.data(), 1).code(), absl::StatusCode::kInvalidArgument);
    const absl::Status wrong_size = parts.LoadTensor("model.norm.weight", masters.data(), 31);
    EXPECT_EQ(wrong_size.message(), "tensor model.norm.weight: expected 32 values, came 31");
    EXPECT_EQ(whole.size_bytes(), parts.size_bytes());
  }
}

TEST_P(EqualityTest, ACopiedPageServesAsTheOriginal) {
  std::mt19937 random(12);
  const auto ctx = KernelContext::Create(1);
  const ModelConfig config = Configs()[0].config;
  ComputeWeights weights(*ctx, config, GetParam(), false);
  weights.LoadAll(LivelyParameters(config, 16));
  const std::vector<int32_t> tokens = RandomTokens(&random, 21, config.vocab_size);
  KvCache cache(config, GetParam(), 32, 3);
  EXPECT_EQ(KvCache::BytesPerPage(config, GetParam(), 32), cache.layout().page_bytes() * config.layers);
  InferenceModel model(*ctx, weights);
  const int32_t original = 2, copy = 0;
  std::vector<float> a(config.hidden_size), b(config.hidden_size);
  const int64_t last = 0;
  // Nothing asked for: the prefix only fills the cache.
  const Chunk prefix{std::span<const int32_t>(tokens).first(20), 0, &original};
  model.Forward({&prefix, 1}, {}, &cache, nullptr);
  cache.CopyPage(original, copy);
  const Chunk next{std::span<const int32_t>(tokens).last(1), 20, &original};
  model.Forward({&next, 1}, {&last, 1}, &cache, a.data());
  const Chunk next_of_copy{std::span<const int32_t>(tokens).last(1), 20, &copy};
  model.Forward({&next_of_copy, 1}, {&last, 1}, &cache, b.data());
  ExpectSameBits(a, b);
}

INSTANTIATE_TEST_SUITE_P(DTypes, EqualityTest, testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& info) { return info.param == DType::kF32 ? "f32" : "bf16"; });

}  // namespace
}  // namespace hone::model
