// The most likely tokens of a row of logits.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace hone::engine {

struct TokenLogProb {
  int32_t token = -1;  // -1: none, where the token of this place was forced
  float logprob = 0;
};

// The most likely tokens of softmax(logits / temperature), the most likely first, the lower index among equals; their
// log-probs are those that kernels::LogProb gives. `logits` [vocab]; at most `vocab` entries in `top`.
void TopTokens(const kernels::KernelContext& ctx, const float* logits, int64_t vocab, float temperature,
               std::span<TokenLogProb> top);

}  // namespace hone::engine
