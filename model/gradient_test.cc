// Log-probs, entropies and gradients against plain double-precision loops and central differences.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "model/model.h"
#include "model/test_models.h"

namespace hone::model {
namespace {

using kernels::DType;
using kernels::KernelContext;

constexpr float kTemperature = 0.7f;

struct Problem {
  PackedSequences batch;
  std::vector<float> d_logprob, d_entropy;
};

Problem MakeProblem(const ModelConfig& config, uint32_t seed, std::vector<int> lengths, int unpredicted) {
  std::mt19937 random(seed);
  std::vector<std::vector<int32_t>> sequences;
  for (int length : lengths) sequences.push_back(RandomTokens(&random, length, config.vocab_size));
  Problem problem{Pack(sequences, unpredicted)};
  std::uniform_real_distribution<float> weight(-1.0f, 1.0f);
  for (int32_t target : problem.batch.targets) {
    if (target < 0) continue;
    problem.d_logprob.push_back(weight(random));
    problem.d_entropy.push_back(0.3f * weight(random));
  }
  return problem;
}

double Objective(const ModelConfig& config, const std::vector<double>& parameters, const Problem& problem) {
  const Predictions predictions = ReferencePredict(config, parameters, problem.batch, kTemperature);
  double sum = 0.0;
  for (size_t r = 0; r < predictions.logprobs.size(); ++r) {
    sum += problem.d_logprob[r] * predictions.logprobs[r] + problem.d_entropy[r] * predictions.entropies[r];
  }
  return sum;
}

FlatTensor ZeroGradients(const ModelConfig& config) {
  FlatTensor gradients(ParameterLayout(config).total_size());
  std::memset(gradients.data(), 0, gradients.size() * sizeof(float));
  return gradients;
}

FlatTensor Gradients(const KernelContext& ctx, const ModelConfig& config, const FlatTensor& masters, DType dtype,
                     const Problem& problem, Recompute recompute = Recompute::kNone) {
  ComputeWeights weights(ctx, config, dtype, true);
  weights.LoadAll(masters);
  TrainingModel model(ctx, weights, recompute);
  std::vector<float> logprobs, entropies;
  FlatTensor gradients = ZeroGradients(config);
  model.Forward(problem.batch, kTemperature, true, &logprobs, &entropies);
  model.Backward(problem.d_logprob, problem.d_entropy, &gradients);
  return gradients;
}

// |a - b| / |b| over the entries of one parameter.
double RelativeError(const float* a, const double* b, int64_t size) {
  double difference = 0.0, norm = 0.0;
  for (int64_t i = 0; i < size; ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

std::vector<NamedConfig> Configs() { return TinyConfigs(12, 4, 2, 6, 14, 17, 2); }

TEST(GradientTest, PredictionsEqualTheDoubleReference) {
  const auto ctx = KernelContext::Create(2);
  for (const NamedConfig& named : Configs()) {
    SCOPED_TRACE(named.name);
    const FlatTensor masters = LivelyParameters(named.config, 21);
    const Problem problem = MakeProblem(named.config, 1, {9, 300, 1, 40}, 0);
    const Predictions expected =
        ReferencePredict(named.config, std::vector<double>(masters.data(), masters.data() + masters.size()),
                         problem.batch, kTemperature);
    ComputeWeights weights(*ctx, named.config, DType::kF32, false);
    weights.LoadAll(masters);
    TrainingModel model(*ctx, weights);
    std::vector<float> logprobs, entropies;
    model.Forward(problem.batch, kTemperature, false, &logprobs, &entropies);
    ASSERT_EQ(logprobs.size(), expected.logprobs.size());
    for (size_t r = 0; r < logprobs.size(); ++r) {
      // fp32 products of a few dozen terms through two layers; angles up to 300 are rounded to fp32 (1.5e-5).
      ASSERT_NEAR(logprobs[r], expected.logprobs[r], 1e-4) << r;
      ASSERT_NEAR(entropies[r], expected.entropies[r], 1e-4) << r;
    }
  }
}

class CentralDifferences : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Keys, CentralDifferences, testing::Bool());

TEST_P(CentralDifferences, OfEveryParameter) {
  const bool masked = GetParam();
  const auto ctx = KernelContext::Create(2);
  for (const NamedConfig& named : Configs()) {
    if (masked && named.name != "qwen3") continue;  // the one with most between keys and scores
    const FlatTensor masters = LivelyParameters(named.config, 22);
    Problem problem = MakeProblem(named.config, 2, {7, 1, 5}, 2);
    SCOPED_TRACE(masked ? "some keys masked" : "no key masked");
    if (masked) {
      // Other rows in each layer, the first and the last of a sequence among them.
      problem.batch.masked_keys.assign(problem.batch.tokens.size() * named.config.layers, 0);
      for (size_t i = 0; i < problem.batch.masked_keys.size(); i += 3) problem.batch.masked_keys[i] = 1;
    }
    const FlatTensor gradients = Gradients(*ctx, named.config, masters, DType::kF32, problem);
    std::vector<double> parameters(masters.data(), masters.data() + masters.size()), expected(masters.size());
    const double step = 1e-5;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const double value = parameters[i];
      parameters[i] = value + step;
      const double above = Objective(named.config, parameters, problem);
      parameters[i] = value - step;
      expected[i] = (above - Objective(named.config, parameters, problem)) / (2.0 * step);
      parameters[i] = value;
    }
    const ParameterLayout layout(named.config);
    for (const ParameterInfo& entry : layout.entries()) {
      // k's bias has no gradient but for the rotation's sake, a small one; 1e-4 is far above fp32 noise for all others.
      EXPECT_LT(RelativeError(gradients.data() + entry.offset, expected.data() + entry.offset, entry.size), 1e-4)
          << named.name << " " << entry.name;
    }
  }
}

TEST(GradientTest, Bf16GradientsPointTheSameWay) {
  const auto ctx = KernelContext::Create(2);
  for (const NamedConfig& named : TinyConfigs(64, 4, 2, 16, 96, 90, 3)) {
    const FlatTensor masters = RandomParameters(named.config, 23);
    const Problem problem = MakeProblem(named.config, 3, {60, 33}, 5);
    const FlatTensor exact = Gradients(*ctx, named.config, masters, DType::kF32, problem);
    const FlatTensor rounded = Gradients(*ctx, named.config, masters, DType::kBf16, problem);
    const std::vector<double> expected(exact.data(), exact.data() + exact.size());
    // bf16 keeps 8 bits: products are off by 0.4 % each, sums by less.
    EXPECT_LT(RelativeError(rounded.data(), expected.data(), expected.size()), 0.02) << named.name;
  }
}

TEST(GradientTest, SameBitsForEveryThreadCount) {
  const auto one = KernelContext::Create(1), two = KernelContext::Create(2), three = KernelContext::Create(3);
  for (const NamedConfig& named : TinyConfigs(48, 4, 2, 16, 80, 1200, 2)) {
    for (DType dtype : {DType::kF32, DType::kBf16}) {
      const FlatTensor masters = LivelyParameters(named.config, 24);
      const Problem problem = MakeProblem(named.config, 4, {70, 300, 2, 18}, 4);
      const FlatTensor expected = Gradients(*one, named.config, masters, dtype, problem);
      for (const KernelContext* ctx : {two.get(), three.get()}) {
        const FlatTensor gradients = Gradients(*ctx, named.config, masters, dtype, problem);
        EXPECT_EQ(std::memcmp(gradients.data(), expected.data(), expected.size() * sizeof(float)), 0) << named.name;
      }
    }
  }
}

TEST(GradientTest, WhatIsComputedAgainHasTheSameBits) {
  const auto ctx = KernelContext::Create(2);
  for (const NamedConfig& named : Configs()) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      const FlatTensor masters = LivelyParameters(named.config, 24);
      Problem problem = MakeProblem(named.config, 4, {70, 300, 2, 18}, 4);
      for (const bool masked : {false, true}) {
        if (masked) problem.batch.masked_keys.assign(problem.batch.tokens.size() * named.config.layers, 0);
        for (size_t i = 0; i < problem.batch.masked_keys.size(); i += 7) problem.batch.masked_keys[i] = 1;
        const FlatTensor expected = Gradients(*ctx, named.config, masters, dtype, problem);
        for (const Recompute recompute : {Recompute::kMlp, Recompute::kLayer}) {
          const FlatTensor gradients = Gradients(*ctx, named.config, masters, dtype, problem, recompute);
          EXPECT_EQ(std::memcmp(gradients.data(), expected.data(), expected.size() * sizeof(float)), 0) << named.name;
        }
      }
    }
  }
}

// The same sequences in one batch and in several, sums apart in both: the same bits, tied embeddings and chunks of
// logits included.
TEST(GradientTest, SumsApartDoNotDependOnTheBatch) {
  const auto ctx = KernelContext::Create(2);
  std::vector<NamedConfig> configs = Configs();
  for (NamedConfig& named : configs) named.config.max_positions = 700;
  configs.push_back({"wide", TinyConfigs(8, 2, 1, 4, 8, 70000, 1)[0].config});
  for (const NamedConfig& named : configs) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      SCOPED_TRACE(named.name);
      const bool wide = named.name == "wide";
      if (wide && dtype == DType::kBf16) continue;  // chunks of logits are cut alike
      const FlatTensor masters = LivelyParameters(named.config, 28);
      ComputeWeights weights(*ctx, named.config, dtype, true);
      weights.LoadAll(masters);
      TrainingModel model(*ctx, weights);
      // More than a block of a weight gradient; nothing to predict.
      const std::vector<int> lengths = {70, 1, wide ? 301 : 601, 18};
      const Problem whole = MakeProblem(named.config, 4, lengths, 0);
      const auto gradients_in = [&](const std::vector<std::vector<int>>& batches) {
        FlatTensor gradients = ZeroGradients(named.config);
        size_t target = 0;
        for (const std::vector<int>& batch : batches) {
          std::vector<std::vector<int32_t>> sequences;
          for (const int s : batch) {
            sequences.emplace_back(whole.batch.tokens.begin() + whole.batch.starts[s],
                                   whole.batch.tokens.begin() + whole.batch.starts[s + 1]);
          }
          PackedSequences packed = Pack(sequences);
          packed.sum_starts = packed.starts;
          std::vector<float> logprobs, entropies;
          model.Forward(packed, kTemperature, true, &logprobs, &entropies);
          model.Backward(std::span(whole.d_logprob).subspan(target, logprobs.size()),
                         std::span(whole.d_entropy).subspan(target, logprobs.size()), &gradients);
          target += logprobs.size();
        }
        EXPECT_EQ(target, whole.d_logprob.size());
        model.FinishGradients(&gradients);
        return gradients;
      };
      const FlatTensor expected = gradients_in({{0, 1, 2, 3}});
      std::vector<std::vector<std::vector<int>>> splits = {{{0}, {1}, {2}, {3}}};
      if (!wide) splits.insert(splits.end(), {{{0, 1}, {2, 3}}, {{0, 1, 2}, {3}}});
      for (const auto& batches : splits) {
        const FlatTensor gradients = gradients_in(batches);
        EXPECT_EQ(std::memcmp(gradients.data(), expected.data(), expected.size() * sizeof(float)), 0);
      }
      const FlatTensor together = Gradients(*ctx, named.config, masters, dtype, whole);
      const std::vector<double> judge(together.data(), together.data() + together.size());
      EXPECT_LT(RelativeError(expected.data(), judge.data(), judge.size()), 1e-5);
    }
  }
}

class OtherForwards : public testing::TestWithParam<Recompute> {};
INSTANTIATE_TEST_SUITE_P(Recompute, OtherForwards,
                         testing::Values(Recompute::kNone, Recompute::kMlp, Recompute::kLayer));

TEST_P(OtherForwards, GradientsAddUpAndIgnoreThem) {
  const auto ctx = KernelContext::Create(2);
  const ModelConfig config = Configs()[3].config;
  const FlatTensor masters = LivelyParameters(config, 25);
  ComputeWeights weights(*ctx, config, DType::kF32, true);
  weights.LoadAll(masters);
  const Problem problem = MakeProblem(config, 5, {20, 30}, 3), larger = MakeProblem(config, 6, {90}, 0),
                smaller = MakeProblem(config, 7, {7}, 0);
  const FlatTensor once = Gradients(*ctx, config, masters, DType::kF32, problem);
  TrainingModel model(*ctx, weights, GetParam());
  FlatTensor twice = ZeroGradients(config);
  std::vector<float> logprobs, entropies, more;
  for (int pass = 0; pass < 2; ++pass) {
    model.Forward(problem.batch, kTemperature, true, &logprobs, &entropies);
    model.Forward((pass == 0 ? smaller : larger).batch, 1.0f, false, &more, &more);
    model.Backward(problem.d_logprob, problem.d_entropy, &twice);
  }
  for (size_t i = 0; i < twice.size(); ++i)
    ASSERT_NEAR(twice[i], 2.0f * once[i], 1e-4f + 1e-4f * std::abs(once[i])) << i;
  // Without entropy gradients: the same as zeros.
  FlatTensor with_zeros = ZeroGradients(config), without = ZeroGradients(config);
  const std::vector<float> zeros(problem.d_entropy.size(), 0.0f);
  model.Forward(problem.batch, kTemperature, true, &logprobs, &entropies);
  model.Backward(problem.d_logprob, zeros, &with_zeros);
  model.Forward(problem.batch, kTemperature, true, &logprobs, &entropies);
  model.Backward(problem.d_logprob, {}, &without);
  for (size_t i = 0; i < without.size(); ++i) ASSERT_EQ(without[i], with_zeros[i]) << i;
  EXPECT_GT(model.ActivationBytesPerToken(), size_t{4} * config.layers * config.hidden_size);
}

// A vocabulary so wide that logits come in several chunks of rows: the same as one sequence at a time, which needs one.
TEST(GradientTest, LogitsInChunks) {
  const auto ctx = KernelContext::Create(2);
  const ModelConfig config = TinyConfigs(8, 2, 1, 4, 8, 70000, 1)[0].config;
  const FlatTensor masters = LivelyParameters(config, 26);
  ComputeWeights weights(*ctx, config, DType::kF32, true);
  weights.LoadAll(masters);
  const Problem whole = MakeProblem(config, 7, {101, 101, 101}, 0);
  TrainingModel model(*ctx, weights);
  FlatTensor together = ZeroGradients(config), apart = ZeroGradients(config);
  std::vector<float> logprobs, entropies;
  model.Forward(whole.batch, kTemperature, true, &logprobs, &entropies);
  model.Backward(whole.d_logprob, whole.d_entropy, &together);
  for (int s = 0; s < 3; ++s) {
    const auto begin = whole.batch.tokens.begin() + 101 * s;
    const PackedSequences one = Pack({std::vector<int32_t>(begin, begin + 101)});
    std::vector<float> part, part_entropies;
    model.Forward(one, kTemperature, true, &part, &part_entropies);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(part[i], logprobs[100 * s + i]);
    model.Backward(std::span<const float>(whole.d_logprob).subspan(100 * s, 100),
                   std::span<const float>(whole.d_entropy).subspan(100 * s, 100), &apart);
  }
  const std::vector<double> expected(apart.data(), apart.data() + apart.size());
  EXPECT_LT(RelativeError(together.data(), expected.data(), expected.size()), 1e-5);
}

// Sequences that begin alike, once written out and once with the rows of the beginning shared: the same log-probs bit
// for bit, the same gradients but for the order of their sums.
TEST(GradientTest, ASharedPrefixIsComputedOnce) {
  const auto ctx = KernelContext::Create(2);
  std::mt19937 random(17);
  for (const NamedConfig& named : TinyConfigs(16, 4, 2, 6, 24, 64, 3)) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      for (const int prefix : {5, 16, 37}) {
        SCOPED_TRACE(testing::Message() << named.name << ", prefix " << prefix);
        const std::vector<int32_t> beginning = RandomTokens(&random, prefix, named.config.vocab_size);
        std::vector<std::vector<int32_t>> whole;
        PackedSequences shared;
        shared.tokens = beginning;
        shared.starts = {0, prefix};
        shared.prefixes = {-1};
        for (const int count : {2, 20, 33}) {
          const std::vector<int32_t> rest = RandomTokens(&random, count, named.config.vocab_size);
          whole.push_back(beginning);
          whole.back().insert(whole.back().end(), rest.begin(), rest.end());
          shared.tokens.insert(shared.tokens.end(), rest.begin(), rest.end());
          shared.starts.push_back(static_cast<int64_t>(shared.tokens.size()));
          shared.prefixes.push_back(0);
        }
        // Another sequence of its own, after those that share.
        whole.push_back(RandomTokens(&random, 9, named.config.vocab_size));
        shared.tokens.insert(shared.tokens.end(), whole.back().begin(), whole.back().end());
        shared.starts.push_back(static_cast<int64_t>(shared.tokens.size()));
        shared.prefixes.push_back(-1);
        const PackedSequences written_out = Pack(whole, prefix);
        shared.targets.assign(shared.tokens.size(), -1);
        for (size_t s = 0; s < whole.size(); ++s) {
          const int64_t end = written_out.starts[s + 1], shared_end = shared.starts[s + 2];
          for (int64_t i = 1; i <= shared_end - shared.starts[s + 1]; ++i) {
            shared.targets[shared_end - i] = written_out.targets[end - i];
          }
        }
        const FlatTensor masters = LivelyParameters(named.config, 26);
        ComputeWeights weights(*ctx, named.config, dtype, true);
        weights.LoadAll(masters);
        TrainingModel model(*ctx, weights);
        std::uniform_real_distribution<float> weight(-1.0f, 1.0f);
        std::vector<float> d_logprob, expected_logprobs, logprobs, entropies;
        FlatTensor expected = ZeroGradients(named.config), actual = ZeroGradients(named.config);
        model.Forward(written_out, kTemperature, true, &expected_logprobs, &entropies);
        for (size_t i = 0; i < expected_logprobs.size(); ++i) d_logprob.push_back(weight(random));
        model.Backward(d_logprob, {}, &expected);
        model.Forward(shared, kTemperature, true, &logprobs, &entropies);
        ASSERT_EQ(logprobs.size(), expected_logprobs.size());
        ASSERT_EQ(std::memcmp(logprobs.data(), expected_logprobs.data(), logprobs.size() * sizeof(float)), 0);
        model.Backward(d_logprob, {}, &actual);
        const std::vector<double> judge(expected.data(), expected.data() + expected.size());
        // With bf16 a row's gradient is rounded as an operand: before the sum over the sequences, or after it.
        EXPECT_LT(RelativeError(actual.data(), judge.data(), judge.size()), dtype == DType::kF32 ? 1e-5 : 1e-2);
      }
    }
  }
}

}  // namespace
}  // namespace hone::model
