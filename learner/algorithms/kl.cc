#include "learner/algorithms/kl.h"

#include <algorithm>

#include "kernels/math.h"

namespace hone::learner {

TokenKl EstimateKl(KlEstimator estimator, double logprob, double ref_logprob) {
  constexpr double kLimit = 20;
  const double d = std::clamp(ref_logprob - logprob, -kLimit, kLimit);
  switch (estimator) {
    case KlEstimator::kK1:
      return {-d, 1.0};
    case KlEstimator::kK2:
      return {d * d / 2, -d};
    case KlEstimator::kK3:
    case KlEstimator::kK3Plus:
      break;
  }
  const double ratio = kernels::Exp(d);  // pi_ref / pi
  return {ratio - d - 1, estimator == KlEstimator::kK3Plus ? -d : 1 - ratio};
}

}  // namespace hone::learner
