#include "learner/algorithms/correction.h"

#include <algorithm>
#include <vector>

#include "learner/algorithms/ratio.h"

namespace hone::learner {
namespace {

RatioLevel LevelOf(CorrectionLevel level) {
  switch (level) {
    case CorrectionLevel::kSequence:
      return RatioLevel::kSequenceProduct;
    case CorrectionLevel::kGeometricMean:
      return RatioLevel::kSequenceMean;
    case CorrectionLevel::kToken:
      break;
  }
  return RatioLevel::kToken;
}

double WeightOf(const Correction& correction, double rho) {
  if (correction.mode == CorrectionMode::kTruncate) return std::min(rho, correction.upper);
  if (rho < correction.lower || rho > correction.upper) return 0;
  return correction.mode == CorrectionMode::kReject ? 1 : rho;
}

}  // namespace

void ApplyCorrection(const Correction& correction, std::span<const float> old_logprobs,
                     std::span<const float> rollout_logprobs, std::span<double> weights) {
  std::vector<double> ratios(weights.size());
  ImportanceRatios(LevelOf(correction.level), old_logprobs, rollout_logprobs, ratios);
  for (size_t t = 0; t < weights.size(); ++t) weights[t] *= WeightOf(correction, ratios[t]);
}

}  // namespace hone::learner
