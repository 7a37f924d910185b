#include "learner/algorithms/policy_loss.h"

#include <algorithm>

namespace hone::learner {
namespace {

TokenPolicyLoss Clipped(const PolicyLossOptions& options, double ratio, double advantage) {
  const double clipped_ratio = std::clamp(ratio, 1 - options.low, 1 + options.high);
  const double unclipped = ratio * advantage;
  const double clipped = clipped_ratio * advantage;
  TokenPolicyLoss token;
  token.clipped_low = advantage < 0 && ratio < 1 - options.low;
  token.clipped_high = advantage > 0 && ratio > 1 + options.high;
  token.loss = -std::min(unclipped, clipped);
  // d ratio / d logprob = ratio.
  token.d_logprob = unclipped <= clipped ? -unclipped : 0.0;
  if (options.dual > 0 && advantage < 0 && token.loss > -options.dual * advantage) {
    token.loss = -options.dual * advantage;
    token.d_logprob = 0;
    token.clipped_dual = true;
  }
  return token;
}

TokenPolicyLoss Cispo(double low, double high, double ratio, double advantage, double logprob) {
  const double coefficient = std::clamp(ratio, low, high) * advantage;
  TokenPolicyLoss token;
  token.clipped_low = advantage < 0 && ratio < low;
  token.clipped_high = advantage > 0 && ratio > high;
  token.loss = -coefficient * logprob;
  token.d_logprob = -coefficient;
  return token;
}

}  // namespace

TokenPolicyLoss PolicyLoss(const PolicyLossOptions& options, double ratio, double advantage, double logprob) {
  if (options.custom) return options.custom({.ratio = ratio, .advantage = advantage, .logprob = logprob});
  switch (options.kind) {
    case PolicyLossKind::kCispo:
      return Cispo(1 - options.low, 1 + options.high, ratio, advantage, logprob);
    case PolicyLossKind::kCispoCap:
      return Cispo(0, options.high, ratio, advantage, logprob);
    case PolicyLossKind::kClip:
      break;
  }
  return Clipped(options, ratio, advantage);
}

}  // namespace hone::learner
