// The policy's loss of one token, and its derivative.
#pragma once

#include <functional>

namespace hone::learner {

struct TokenPolicyLoss {
  double loss = 0;
  double d_logprob = 0;       // d loss / d logprob
  bool clipped_low = false;   // A < 0 and the ratio below its lower bound: kClip cuts the gradient, CISPO bounds it
  bool clipped_high = false;  // A > 0 and above its upper bound
  bool clipped_dual = false;  // at the dual bound: no gradient
};

// What a loss of one's own is told of a token (custom.h).
struct PolicyToken {
  double ratio = 1;
  double advantage = 0;
  double logprob = 0;
};

enum class PolicyLossKind {
  kClip,      // -min(r A, clip(r) A): PPO and GRPO (arXiv:2402.03300 eq. 3); separate bounds: DAPO (arXiv:2503.14476)
  kCispo,     // -sg(clip(r)) A log pi: every token keeps a gradient (CISPO, arXiv:2506.13585 eq. 4)
  kCispoCap,  // -sg(min(r, high)) A log pi: `high` bounds the ratio itself (ScaleRL, arXiv:2510.13786; TRL)
};

struct PolicyLossOptions {
  PolicyLossKind kind = PolicyLossKind::kClip;
  double low = 0.2;   // the ratio is clipped to [1 - low, 1 + high]
  double high = 0.2;  // low of 1 or more (R1: 10) never binds: no ratio is below 0
  // kClip, where A < 0: the loss is at most dual * -A (dual-clip PPO, arXiv:1912.09729 eq. 5). 0 = no bound; else above
  // 1.
  double dual = 0;
  // In place of all the above where it is set.
  std::function<TokenPolicyLoss(const PolicyToken&)> custom;
};

// `ratio` is of ratio.h. `logprob` is log pi of the token: of use to CISPO alone.
TokenPolicyLoss PolicyLoss(const PolicyLossOptions& options, double ratio, double advantage, double logprob);

}  // namespace hone::learner
