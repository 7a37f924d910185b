// The engine: samples completions of prompts by continuous batching over a paged KV cache.
//
// A token is a function of (weights, the sequence's own prefix, sampling and controls, key, stream, sample, position)
// and of nothing else: not of what else is in the batch, of chunking, page size, cache size, preemption or threads.
// Log-probs are equal, bit for bit, to those of model::TrainingModel at the same weights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"
#include "rollout_worker/engine/request.h"

namespace hone::model {
class ComputeWeights;
class Tokenizer;
struct ModelConfig;
}  // namespace hone::model

namespace hone::engine {

// Not thread-safe. Works while Step is called; keeps no threads of its own.
class Engine {
 public:
  struct Options {
    int page_tokens = 64;                       // a multiple of kernels::kBlockTokens
    int64_t kv_cache_bytes = int64_t{1} << 30;  // upper limit; less where max_batch_sequences full contexts need less
    int max_batch_sequences = 256;
    int max_batch_tokens = 1024;  // prefill and decode tokens of one step
  };
  struct Stats {
    int64_t prefill_tokens = 0;  // prompt tokens computed (recomputation included)
    int64_t sampled_tokens = 0;
    int64_t steps = 0;
    int64_t preemptions = 0;
    int running_sequences = 0;
    double kv_use = 0;  // share of the pages in use
  };

  // `ctx`, `weights` and `tokenizer` (needed for stop strings and thinking controls only; may be null) must outlive the
  // engine. The contents of `weights` may be replaced while no group is in work. INVALID_ARGUMENT names the option;
  // RESOURCE_EXHAUSTED: not even one page fits kv_cache_bytes.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const kernels::KernelContext& ctx,
                                                        const model::ComputeWeights& weights,
                                                        const model::Tokenizer* tokenizer, const Options& options);
  ~Engine();

  // INVALID_ARGUMENT: empty or too long a prompt, a token outside the vocabulary, what CheckSettings refuses (named);
  // RESOURCE_EXHAUSTED: one sequence alone would not fit the cache. Answers the group's handle.
  absl::StatusOr<int64_t> SubmitGroup(GroupRequest request);
  // The kv_cache_bytes without which SubmitGroup answers RESOURCE_EXHAUSTED for such a group.
  int64_t CacheBytesNeeded(int prompt_tokens, int max_new_tokens) const;
  // One pass through the model; groups that finished with it, in order of arrival. Without work: returns at once,
  // empty.
  std::vector<GroupResult> Step();
  // A sample of a group in work. Valid until the next call of Step, Score or Cancel.
  PartialCompletion Partial(int64_t handle, int sample) const;
  // Forgets a group; unknown handles are fine.
  void Cancel(int64_t handle);
  bool idle() const;

  // Log-probs and entropies of `tokens` after `prompt` at `temperature` (> 0), and those of the `top_logprobs` most
  // likely tokens at each place, by the same passes that sample. Groups in work may be preempted (and computed again)
  // where the cache is full.
  absl::StatusOr<TokenScores> Score(const std::vector<int32_t>& prompt, const std::vector<int32_t>& tokens,
                                    float temperature, int top_logprobs = 0);

  Stats stats() const;
  const model::ModelConfig& config() const;

  // Before there is an engine, for memory planning: the pages that its cache will have (fewer than 2: Create fails),
  // and the most that it holds in logits.
  static int64_t KvPageCount(const model::ModelConfig& config, kernels::DType dtype, const Options& options);
  static int64_t LogitsBytes(const model::ModelConfig& config);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::engine
