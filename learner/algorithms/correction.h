// Weights of trajectories that were sampled by other weights than those the update starts from.
//
// With rho_t = pi_old / pi_rollout of a token, no gradient through it. Sources: TIS (Yao et al., "Your efficient RL
// framework secretly brings you off-policy RL training", 2025), IcePop and MIS masks, geometric rejection (verl's
// rollout correction); decoupled PPO (AReaL, arXiv:2505.24298) is a token weight beside the clipped ratio to pi_old.
#pragma once

#include <span>

namespace hone::learner {

enum class CorrectionLevel {
  kToken,          // rho_t
  kSequence,       // product of rho_t, the same for every token
  kGeometricMean,  // its root
};

enum class CorrectionMode {
  kTruncate,  // min(rho, upper)
  kMask,      // rho inside of [lower, upper], else 0
  kReject,    // 1 inside of [lower, upper], else 0
};

struct Correction {
  CorrectionLevel level = CorrectionLevel::kToken;
  CorrectionMode mode = CorrectionMode::kTruncate;
  double lower = 0;
  double upper = 2;
};

// Multiplies `weights` by the correction's, one for each token of one sequence. Both log-probs and `weights` are of
// equal length.
void ApplyCorrection(const Correction& correction, std::span<const float> old_logprobs,
                     std::span<const float> rollout_logprobs, std::span<double> weights);

}  // namespace hone::learner
