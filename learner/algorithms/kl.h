// Estimators of KL(policy || reference) from one sample (Schulman, "Approximating KL divergence", 2020).
#pragma once

namespace hone::learner {

enum class KlEstimator {
  kK1,
  kK2,
  kK3,
  kK3Plus,  // the value of k3, the gradient of k2
};

// Where the KL enters.
enum class KlPlacement {
  kLoss,            // a term of the loss (GRPO)
  kSequenceReward,  // off the reward, summed over the tokens (RLOO)
  kTokenReward,     // off each token's reward (PPO, REINFORCE++)
};

struct TokenKl {
  double value = 0;
  double d_logprob = 0;  // d value / d logprob
};

// With d = ref_logprob - logprob, limited to +-20:  k1 = -d,  k2 = d^2 / 2,  k3 = e^d - d - 1.
// As a loss, k3 gives GRPO's gradient coefficient beta (pi_ref / pi - 1) (arXiv:2402.03300, appendix A). k1's
// derivative is 1 for every token, a constant that says nothing about the reference; it is here for what it is: the
// plain derivative.
TokenKl EstimateKl(KlEstimator estimator, double logprob, double ref_logprob);

}  // namespace hone::learner
