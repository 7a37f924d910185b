#include "learner/algorithms/objective.h"

#include <algorithm>

namespace hone::learner {
namespace {

// The weights of the corrections, one for each token; empty without any.
std::vector<double> CorrectionWeights(const Objective& objective, const SequenceTokens& sequence, LossTotals* totals) {
  std::vector<double> weights;
  if (objective.corrections.empty()) return weights;
  weights.assign(sequence.logprobs.size(), 1.0);
  for (const Correction& correction : objective.corrections) {
    ApplyCorrection(correction, sequence.old_logprobs, sequence.rollout_logprobs, weights);
  }
  for (const double weight : weights) {
    totals->correction += weight;
    totals->correction_squares += weight * weight;
    totals->correction_min = std::min(totals->correction_min, weight);
    totals->correction_max = std::max(totals->correction_max, weight);
    totals->correction_zeros += weight == 0;
  }
  return weights;
}

void AddRatio(double ratio, double log_ratio, LossTotals* totals) {
  totals->log_ratio += log_ratio;
  totals->ratio += ratio;
  totals->ratio_min = std::min(totals->ratio_min, ratio);
  totals->ratio_max = std::max(totals->ratio_max, ratio);
}

}  // namespace

void SequenceLoss(const Objective& objective, const LossExtent& extent, const SequenceTokens& sequence,
                  std::span<float> d_logprob, std::span<float> d_entropy, LossTotals* totals) {
  const size_t count = sequence.logprobs.size();
  const double weight = TokenWeight(objective.aggregation, extent, static_cast<int64_t>(count));
  const bool product = objective.ratio == RatioLevel::kSequenceProduct;
  const bool with_kl = !sequence.reference_logprobs.empty() && objective.kl_placement == KlPlacement::kLoss;
  std::vector<double> ratios(count);
  ImportanceRatios(objective.ratio, sequence.logprobs, sequence.old_logprobs, ratios);
  const std::vector<double> corrections = CorrectionWeights(objective, sequence, totals);
  for (size_t t = 0; t < count; ++t) {
    const double logprob = sequence.logprobs[t];
    TokenPolicyLoss policy = PolicyLoss(objective.policy, ratios[t], sequence.advantages[t], logprob);
    if (!corrections.empty()) {
      policy.loss *= corrections[t];
      policy.d_logprob *= corrections[t];
    }
    double gradient = policy.d_logprob;
    if (with_kl) {
      const TokenKl kl = EstimateKl(objective.kl_estimator, logprob, sequence.reference_logprobs[t]);
      gradient += objective.kl_coefficient * kl.d_logprob;
      totals->kl_loss += weight * kl.value;
    }
    d_logprob[t] = static_cast<float>(weight * gradient);
    if (objective.entropy_coefficient != 0) {
      d_entropy[t] = static_cast<float>(-objective.entropy_coefficient * weight);
      totals->entropy += weight * static_cast<double>(sequence.entropies[t]);
    }
    totals->policy_loss += weight * (product ? policy.loss / static_cast<double>(count) : policy.loss);
    totals->clipped_low += policy.clipped_low;
    totals->clipped_high += policy.clipped_high;
    totals->clipped_dual += policy.clipped_dual;
    AddRatio(ratios[t], static_cast<double>(sequence.old_logprobs[t]) - logprob, totals);
  }
  totals->tokens += static_cast<int64_t>(count);
}

}  // namespace hone::learner
