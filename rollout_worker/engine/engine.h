// The engine: samples completions of prompts by continuous batching over a paged KV cache.
//
// A token is a function of (weights, the sequence's own prefix, sampling, key, stream, sample, position) and of
// nothing else: not of what else is in the batch, of chunking, page size, cache size, preemption or threads. Log-probs
// are equal, bit for bit, to those of model::TrainingModel at the same weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"

namespace hone::model {
class ComputeWeights;
class Tokenizer;
struct ModelConfig;
}  // namespace hone::model

namespace hone::engine {

enum class FinishReason { kEndOfSequence, kStopString, kStopToken, kLength };

struct GroupRequest {
  uint64_t stream = 0;  // enters the random numbers, handed back
  uint64_t key = 0;     // kernels::StreamKey(run seed, stage)
  std::vector<int32_t> prompt;
  int samples = 1;
  kernels::SamplingParams sampling;
  int max_new_tokens = 256;               // fewer where the model's context ends before
  int min_new_tokens = 0;                 // end-of-sequence and stop tokens are banned, stop strings ignored, before
  std::vector<int32_t> stop_token_ids;    // beside the model's end-of-sequence tokens
  std::vector<std::string> stop_strings;  // a completion ends with the token that completes one
};

// Tokens as sampled, the one that ended the completion among them.
struct SampledCompletion {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // at the sampling temperature (greedy: 1), before top-k, top-p and min-p
  FinishReason finish = FinishReason::kLength;
};

struct GroupResult {
  int64_t handle = 0;
  uint64_t stream = 0;
  std::vector<SampledCompletion> samples;
};

struct TokenScores {
  std::vector<float> logprobs, entropies;  // one for each scored token
};

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

  // `ctx`, `weights` and `tokenizer` (needed for stop strings only; may be null) must outlive the engine. The contents
  // of `weights` may be replaced while no group is in work. INVALID_ARGUMENT names the option; RESOURCE_EXHAUSTED: not
  // even one page fits kv_cache_bytes.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const kernels::KernelContext& ctx,
                                                        const model::ComputeWeights& weights,
                                                        const model::Tokenizer* tokenizer, const Options& options);
  ~Engine();

  // INVALID_ARGUMENT: empty or too long a prompt, a token outside the vocabulary, limits or sampling out of range
  // (named); RESOURCE_EXHAUSTED: one sequence alone would not fit the cache. Answers the group's handle.
  absl::StatusOr<int64_t> SubmitGroup(GroupRequest request);
  // The kv_cache_bytes without which SubmitGroup answers RESOURCE_EXHAUSTED for such a group.
  int64_t CacheBytesNeeded(int prompt_tokens, int max_new_tokens) const;
  // One pass through the model; groups that finished with it, in order of arrival. Without work: returns at once,
  // empty.
  std::vector<GroupResult> Step();
  // Forgets a group; unknown handles are fine.
  void Cancel(int64_t handle);
  bool idle() const;

  // Log-probs and entropies of `tokens` after `prompt` at `temperature` (> 0), by the same passes that sample. Groups
  // in work may be preempted (and computed again) where the cache is full.
  absl::StatusOr<TokenScores> Score(const std::vector<int32_t>& prompt, const std::vector<int32_t>& tokens,
                                    float temperature);

  Stats stats() const;
  const model::ModelConfig& config() const;

  // What SubmitGroup checks of a request without looking at the model: sampling, limits and stop strings.
  static absl::Status CheckSettings(const GroupRequest& request);

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
