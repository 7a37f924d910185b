#include "rollout_worker/memory_plan.h"

#include <algorithm>

#include "model/memory_plan.h"
#include "model/model.h"

namespace hone {

WorkerMemory PlanWorkerMemory(const model::ModelConfig& config, kernels::DType dtype,
                              const engine::Engine::Options& options, int64_t sequence_tokens) {
  WorkerMemory memory;
  memory.weights = model::PlanComputeWeights(config, dtype, /*for_training=*/false).total();
  memory.received = model::WeightVersionBytes(config, dtype) + model::LargestTensorBytes(config);
  const int64_t pages = engine::Engine::KvPageCount(config, dtype, options);
  memory.kv_cache = pages * static_cast<int64_t>(model::KvCache::BytesPerPage(config, dtype, options.page_tokens));
  memory.kv_bytes_per_token = model::KvBytesPerToken(config, dtype);
  const int64_t pages_each = std::max<int64_t>(1, (sequence_tokens + options.page_tokens - 1) / options.page_tokens);
  memory.sequences_in_cache = std::min<int64_t>(pages / pages_each, options.max_batch_sequences);

  const int64_t d = config.hidden_size;
  const int64_t rows = std::max(options.max_batch_tokens, options.max_batch_sequences);
  const int64_t widest = std::max<int64_t>({d, int64_t{config.heads} * config.head_dim, config.ffn_size});
  memory.activations = model::InferenceModelBytes(config, rows, options.max_batch_sequences) +
                       options.max_batch_sequences * d * static_cast<int64_t>(sizeof(float)) +
                       engine::Engine::LogitsBytes(config) +
                       static_cast<int64_t>(kernels::GemmScratchBytes(rows, widest, dtype));
  return memory;
}

}  // namespace hone
