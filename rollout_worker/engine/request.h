// What the engine is asked for and what it answers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"
#include "rollout_worker/engine/logit_editor.h"
#include "rollout_worker/engine/thinking.h"
#include "rollout_worker/engine/top_tokens.h"

namespace hone::engine {

enum class FinishReason { kEndOfSequence, kStopString, kStopToken, kLength };

struct GroupRequest {
  uint64_t stream = 0;  // enters the random numbers, handed back
  uint64_t key = 0;     // kernels::StreamKey(run seed, stage)
  std::vector<int32_t> prompt;
  int samples = 1;
  kernels::SamplingParams sampling;
  LogitControls logits;
  ThinkingControls thinking;
  bool prompt_opens_thinking = false;     // the prompt ends inside of a think block
  int max_new_tokens = 256;               // fewer where the model's context ends before; forced tokens count
  int min_new_tokens = 0;                 // end-of-sequence and stop tokens are banned, stop strings ignored, before
  std::vector<int32_t> stop_token_ids;    // beside the model's end-of-sequence tokens
  std::vector<std::string> stop_strings;  // a completion ends with the token that completes one
  int top_logprobs = 0;                   // of so many most likely tokens at each place, too
};

// Checks all that can be told without a model. INVALID_ARGUMENT "<field>: expected <what>, got <value>".
absl::Status CheckSettings(const GroupRequest& request);

// The tokens of the completion, the one that ended it among them.
struct SampledCompletion {
  std::vector<int32_t> tokens;
  // At the sampling temperature (greedy: 1), before logit controls, top-k, top-p and min-p; 0 for a forced token.
  std::vector<float> logprobs;
  std::vector<uint8_t> forced;    // 1 where thinking controls put the token; empty without them
  std::vector<TokenLogProb> top;  // `top_logprobs` entries for each token
  FinishReason finish = FinishReason::kLength;
};

struct GroupResult {
  int64_t handle = 0;
  uint64_t stream = 0;
  std::vector<SampledCompletion> samples;
};

struct TokenScores {
  std::vector<float> logprobs, entropies;  // one for each scored token
  std::vector<TokenLogProb> top;           // as many as were asked for, for each
};

// A sample that is not finished, or just is: what it has so far and will not lose again (thinking controls may take the
// newest tokens away).
struct PartialCompletion {
  std::span<const int32_t> tokens;
  std::span<const float> logprobs;
  std::span<const uint8_t> forced;
  std::span<const TokenLogProb> top;
  bool finished = false;
  FinishReason finish = FinishReason::kLength;  // where it is finished
};

}  // namespace hone::engine
