#include "rollout_worker/memory_plan.h"

#include <gtest/gtest.h>

#include "model/model.h"
#include "model/test_models.h"

namespace hone {
namespace {

using kernels::DType;

TEST(WorkerMemoryTest, TheCacheIsThatOfTheEngine) {
  const model::ModelConfig config = model::TinyConfigs(32, 4, 2, 32, 48, 101, 3)[0].config;  // context 512
  const int64_t token = 2 * 2 * 32 * 3 * 4;  // k and v, 2 heads of 32, 3 layers, fp32
  engine::Engine::Options options = {.page_tokens = 64, .kv_cache_bytes = 100 * 64 * token};
  const WorkerMemory memory = PlanWorkerMemory(config, DType::kF32, options, 100);
  EXPECT_EQ(memory.kv_bytes_per_token, token);
  EXPECT_EQ(memory.kv_cache, options.kv_cache_bytes);
  EXPECT_EQ(memory.sequences_in_cache, 50);  // 100 tokens take two pages
  EXPECT_EQ(PlanWorkerMemory(config, DType::kF32, options, 128).sequences_in_cache, 50);
  EXPECT_EQ(PlanWorkerMemory(config, DType::kF32, options, 129).sequences_in_cache, 33);
  EXPECT_EQ(PlanWorkerMemory(config, DType::kBf16, options, 100).sequences_in_cache, 100);
  options.max_batch_sequences = 20;
  EXPECT_EQ(PlanWorkerMemory(config, DType::kF32, options, 100).sequences_in_cache, 20);
  // A small model never fills a large cache.
  options.kv_cache_bytes = int64_t{1} << 40;
  const WorkerMemory small = PlanWorkerMemory(config, DType::kF32, options, 100);
  EXPECT_EQ(small.kv_cache, ((512 / 64 + 1) * 20 * 5 / 4 + 1) * 64 * token);
}

TEST(WorkerMemoryTest, WeightsAreThoseOfAWorker) {
  const model::ModelConfig config = model::TinyConfigs(32, 4, 2, 16, 48, 101, 3)[2].config;
  const auto kernels = kernels::KernelContext::Create(1);
  model::ComputeWeights weights(*kernels, config, DType::kBf16, /*for_training=*/false);
  weights.LoadAll(model::RandomParameters(config, 1));
  const WorkerMemory memory = PlanWorkerMemory(config, DType::kBf16, {}, 100);
  EXPECT_GT(memory.weights, static_cast<int64_t>(weights.size_bytes()));
  EXPECT_GT(memory.received, config.parameter_count() * 2);
  EXPECT_EQ(memory.total(), memory.weights + memory.received + memory.kv_cache + memory.activations);
}

}  // namespace
}  // namespace hone
