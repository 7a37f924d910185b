// The plan against the objects themselves: nothing is counted twice, nothing is forgotten.
#include "model/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/model.h"
#include "model/test_models.h"

namespace hone::model {
namespace {

using kernels::DType;

std::vector<NamedConfig> Configs() {
  std::vector<NamedConfig> configs = TinyConfigs(48, 4, 2, 16, 80, 101, 2);
  NamedConfig wide{"wide", configs[0].config};  // logits in several chunks, sizes that are no multiple of a panel's
  wide.config.vocab_size = 150'000;
  wide.config.head_dim = 24;
  wide.config.kv_heads = 1;
  configs.push_back(wide);
  return configs;
}

TEST(MemoryPlanTest, WeightsAreCountedAsTheyAreHeld) {
  const auto ctx = kernels::KernelContext::Create(2);
  for (const NamedConfig& named : Configs()) {
    SCOPED_TRACE(named.name);
    const FlatTensor masters = RandomParameters(named.config, 1);
    EXPECT_EQ(FlatTensorBytes(named.config), static_cast<int64_t>(masters.size() * sizeof(float)));
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      for (const bool training : {false, true}) {
        ComputeWeights weights(*ctx, named.config, dtype, training);
        weights.LoadAll(masters);
        EXPECT_EQ(PlanComputeWeights(named.config, dtype, training).packed, static_cast<int64_t>(weights.size_bytes()));
      }
    }
    EXPECT_EQ(WeightVersionBytes(named.config, DType::kF32), FlatTensorBytes(named.config));
    EXPECT_GE(LargestTensorBytes(named.config), int64_t{named.config.vocab_size} * named.config.hidden_size * 4);
    EXPECT_LT(WeightVersionBytes(named.config, DType::kBf16), FlatTensorBytes(named.config) * 6 / 10);
    EXPECT_GT(WeightVersionBytes(named.config, DType::kBf16), FlatTensorBytes(named.config) / 2);
  }
}

TEST(MemoryPlanTest, ATrainingModelHoldsWhatIsPlanned) {
  const auto ctx = kernels::KernelContext::Create(2);
  std::mt19937 random(5);
  const auto batch_of = [](const PackedSequences& packed) {
    return TrainingBatch{.rows = static_cast<int64_t>(packed.tokens.size()),
                         .predicted = std::count_if(packed.targets.begin(), packed.targets.end(),
                                                    [](int32_t target) { return target >= 0; }),
                         .sequences = static_cast<int64_t>(packed.starts.size()) - 1,
                         .sums_apart = !packed.sum_starts.empty(),
                         .masked_keys = !packed.masked_keys.empty()};
  };
  for (const NamedConfig& named : Configs()) {
    for (const auto& [dtype, recompute] :
         {std::pair{DType::kF32, Recompute::kNone}, std::pair{DType::kBf16, Recompute::kNone},
          std::pair{DType::kF32, Recompute::kMlp}, std::pair{DType::kBf16, Recompute::kLayer}}) {
      SCOPED_TRACE(named.name);
      const FlatTensor masters = RandomParameters(named.config, 1);
      ComputeWeights weights(*ctx, named.config, dtype, /*for_training=*/true);
      weights.LoadAll(masters);
      const int32_t vocab = named.config.vocab_size;
      // Lengths that fill their pages but for the last, so that the plan's pages are exact.
      PackedSequences kept = Pack({RandomTokens(&random, 17, vocab), RandomTokens(&random, 33, vocab)}, 5);
      const PackedSequences plain = Pack({RandomTokens(&random, 65, vocab), RandomTokens(&random, 97, vocab)}, 2);
      TrainingModel model(*ctx, weights, recompute);
      std::vector<float> logprobs, entropies;
      model.Forward(plain, 1.0f, /*keep=*/false, &logprobs, &entropies);
      EXPECT_EQ(TrainingModelBytes(named.config, dtype, {}, batch_of(plain)), static_cast<int64_t>(model.size_bytes()));
      model.Forward(kept, 1.0f, /*keep=*/true, &logprobs, &entropies);
      FlatTensor gradients(masters.size());
      std::fill_n(gradients.data(), gradients.size(), 0.0f);
      model.Backward(logprobs, {}, &gradients);
      EXPECT_EQ(TrainingModelBytes(named.config, dtype, batch_of(kept), batch_of(plain), recompute),
                static_cast<int64_t>(model.size_bytes()));
      // A model that sees no batch but those that it keeps, with all that may come beside one.
      kept.sum_starts = kept.starts;
      kept.masked_keys.assign(kept.tokens.size() * named.config.layers, 1);
      TrainingModel alone(*ctx, weights, recompute);
      alone.Forward(kept, 1.0f, /*keep=*/true, &logprobs, &entropies);
      alone.Backward(logprobs, {}, &gradients);
      EXPECT_EQ(TrainingModelBytes(named.config, dtype, batch_of(kept), {}, recompute),
                static_cast<int64_t>(alone.size_bytes()));
      EXPECT_GT(TrainingScratchBytes(named.config, dtype, batch_of(kept), 33, 2), 0);
    }
  }
}

TEST(MemoryPlanTest, BigModelsAreCountedByTheFormulas) {
  ModelConfig config;  // the shape of Qwen2.5-0.5B
  config.family = Family::kQwen2;
  config.vocab_size = 151'936;
  config.hidden_size = 896;
  config.layers = 24;
  config.heads = 14;
  config.kv_heads = 2;
  config.head_dim = 64;
  config.ffn_size = 4864;
  config.max_positions = 32'768;
  config.tied_embeddings = config.qkv_bias = true;
  EXPECT_EQ(FlatTensorBytes(config), int64_t{494'032'768} * 4);
  EXPECT_EQ(KvBytesPerToken(config, DType::kBf16), 24 * 2 * 2 * 64 * 2);
  EXPECT_EQ(KvBytesPerToken(config, DType::kF32), 2 * KvBytesPerToken(config, DType::kBf16));
  const int64_t layer = 896 + 1152 + 896 + 14 + 896 + 2 * 4864;
  EXPECT_EQ(ActivationBytesPerToken(config), (24 * layer + 2 * 896) * 4);
  EXPECT_EQ(ActivationBytesPerToken(config, Recompute::kLayer), (24 * 896 + (layer - 896) + 2 * 896) * 4);
  EXPECT_EQ(ActivationBytesPerToken(config, Recompute::kMlp), (24 * (layer - 9728) + 9728 + 2 * 896) * 4);
  EXPECT_EQ(PlanComputeWeights(config, DType::kBf16, false).rope, int64_t{32'768} * 64 * 4);
  // Two copies, one transposed, in half the bytes.
  EXPECT_NEAR(static_cast<double>(PlanComputeWeights(config, DType::kBf16, true).packed), 494'032'768.0 * 4, 1e6);
  EXPECT_EQ(InferenceModelBytes(config, 512, 256), (512 * (2 * 896 + 1152 + 896 + 3 * 4864) + 256 * 2 * 896) * 4);
}

}  // namespace
}  // namespace hone::model
