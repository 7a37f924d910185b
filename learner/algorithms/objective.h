// The loss of a minibatch: each token's policy loss, KL and entropy terms, weighted into one sum.
//
//   loss = sum over sequences i, tokens t of  w_i (c_it L(ratio_it, A_it) + beta KL_it - gamma H_it)
//
// with w of aggregation.h, c of correction.h, L of policy_loss.h, ratios of ratio.h and KL of kl.h.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "learner/algorithms/aggregation.h"
#include "learner/algorithms/correction.h"
#include "learner/algorithms/kl.h"
#include "learner/algorithms/policy_loss.h"
#include "learner/algorithms/ratio.h"

namespace hone::learner {

struct Objective {
  PolicyLossOptions policy;
  RatioLevel ratio = RatioLevel::kToken;
  LossAggregation aggregation = LossAggregation::kTokenMean;
  double kl_coefficient = 0;  // beta
  KlEstimator kl_estimator = KlEstimator::kK3;
  KlPlacement kl_placement = KlPlacement::kLoss;  // else the KL is in the advantages, and no term here
  double entropy_coefficient = 0;                 // gamma
  std::vector<Correction> corrections;
};

// One sequence's tokens in the loss; all of one length.
struct SequenceTokens {
  std::span<const float> logprobs;            // of the weights under training
  std::span<const float> old_logprobs;        // of the old policy
  std::span<const float> rollout_logprobs;    // of the weights that sampled; may be empty without corrections
  std::span<const float> reference_logprobs;  // empty: no KL term
  std::span<const float> entropies;           // nats; may be empty where entropy_coefficient is 0
  std::span<const double> advantages;
};

// Sums over the sequences of a step.
struct LossTotals {
  // Weighted as in the loss, without their coefficients; the last two are 0 where the loss has no such term.
  double policy_loss = 0, kl_loss = 0, entropy = 0;
  int64_t tokens = 0;
  int64_t clipped_low = 0, clipped_high = 0, clipped_dual = 0;
  double log_ratio = 0;  // old - new
  double ratio = 0;
  double ratio_min = std::numeric_limits<double>::infinity();
  double ratio_max = 0;
  // Of the corrections' weights; untouched without corrections.
  double correction = 0, correction_squares = 0;
  double correction_min = std::numeric_limits<double>::infinity();
  double correction_max = 0;
  int64_t correction_zeros = 0;
};

// Writes d loss / d logprob of each token to `d_logprob` and, where entropy_coefficient is not 0, d loss / d entropy to
// `d_entropy`; adds to `totals`.
//
// A sequence_product ratio counts its sequence once: each of its T tokens has L / T as its value, and the whole
// derivative.
void SequenceLoss(const Objective& objective, const LossExtent& extent, const SequenceTokens& sequence,
                  std::span<float> d_logprob, std::span<float> d_entropy, LossTotals* totals);

}  // namespace hone::learner
