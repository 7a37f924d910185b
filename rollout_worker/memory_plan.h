// How much memory a rollout worker takes, at most, from the model's configuration and the engine's options alone.
#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "model/config.h"
#include "rollout_worker/engine/engine.h"

namespace hone {

// Bytes that are held at the same time. Not counted: the program itself, prompts and completions.
struct WorkerMemory {
  int64_t weights = 0;
  int64_t received = 0;  // a version as it came, while it is loaded, and one of its tensors as fp32
  int64_t kv_cache = 0;
  int64_t activations = 0;  // of a step with all the tokens that the options allow
  int64_t total() const { return weights + received + kv_cache + activations; }

  int64_t kv_bytes_per_token = 0;
  int64_t sequences_in_cache = 0;  // of `sequence_tokens` tokens, with nothing shared; at most max_batch_sequences
};

WorkerMemory PlanWorkerMemory(const model::ModelConfig& config, kernels::DType dtype,
                              const engine::Engine::Options& options, int64_t sequence_tokens);

}  // namespace hone
