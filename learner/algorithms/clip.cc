#include "learner/algorithms/clip.h"

#include <algorithm>

#include "kernels/math.h"

namespace hone::learner {

double ImportanceRatio(double logprob, double old_logprob) {
  constexpr double kLimit = 20;
  return kernels::Exp(std::clamp(logprob - old_logprob, -kLimit, kLimit));
}

TokenPolicyLoss ClippedPolicyLoss(double ratio, double advantage, const ClipRange& range) {
  const double clipped_ratio = std::clamp(ratio, 1 - range.low, 1 + range.high);
  const double unclipped = ratio * advantage;
  const double clipped = clipped_ratio * advantage;
  TokenPolicyLoss token;
  token.ratio = ratio;
  token.clipped_low = advantage < 0 && ratio < 1 - range.low;
  token.clipped_high = advantage > 0 && ratio > 1 + range.high;
  token.loss = -std::min(unclipped, clipped);
  // d ratio / d logprob = ratio.
  token.d_logprob = unclipped <= clipped ? -unclipped : 0.0;
  return token;
}

}  // namespace hone::learner
