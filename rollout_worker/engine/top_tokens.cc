#include "rollout_worker/engine/top_tokens.h"

#include <algorithm>
#include <vector>

namespace hone::engine {

void TopTokens(const kernels::KernelContext& ctx, const float* logits, int64_t vocab, float temperature,
               std::span<TokenLogProb> top) {
  if (top.empty()) return;
  std::vector<int32_t> tokens;  // so far, by falling logit
  tokens.reserve(top.size() + 1);
  const auto less = [logits](int32_t a, int32_t b) { return logits[a] > logits[b]; };
  for (int32_t token = 0; token < vocab; ++token) {
    const bool full = tokens.size() == top.size();
    if (full && !(logits[token] > logits[tokens.back()])) continue;  // later among equals, or not a number
    tokens.insert(std::upper_bound(tokens.begin(), tokens.end(), token, less), token);
    if (full) tokens.pop_back();
  }
  std::vector<float> logprobs(tokens.size());
  kernels::LogProb(ctx, logits, /*ld=*/0, static_cast<int64_t>(tokens.size()), vocab, temperature, tokens.data(),
                   logprobs.data(), nullptr, nullptr);
  for (size_t i = 0; i < tokens.size(); ++i) top[i] = {tokens[i], logprobs[i]};
}

}  // namespace hone::engine
