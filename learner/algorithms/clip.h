// The clipped surrogate of PPO and GRPO, per token (arXiv:2402.03300 eq. 3; separate bounds: DAPO, arXiv:2503.14476 eq.
// 8).
#pragma once

namespace hone::learner {

struct ClipRange {
  double low = 0.2;   // the ratio is clipped to [1 - low, 1 + high]
  double high = 0.2;  // low may exceed 1 (R1 uses 10): then that side never binds
};

struct TokenPolicyLoss {
  double loss = 0;            // -min(r A, clip(r) A)
  double d_logprob = 0;       // d loss / d logprob: -r A where the unclipped term is the smaller, else 0
  double ratio = 1;           // r
  bool clipped_low = false;   // A < 0 and r < 1 - low: the gradient is cut
  bool clipped_high = false;  // A > 0 and r > 1 + high
};

// exp(logprob - old_logprob), the difference limited to +-20 so that it stays finite (as verl does).
double ImportanceRatio(double logprob, double old_logprob);

TokenPolicyLoss ClippedPolicyLoss(double ratio, double advantage, const ClipRange& range);

}  // namespace hone::learner
