#include "learner/algorithms/ratio.h"

#include <algorithm>

#include "kernels/math.h"

namespace hone::learner {

double BoundedExp(double log_ratio) {
  constexpr double kLimit = 20;
  return kernels::Exp(std::clamp(log_ratio, -kLimit, kLimit));
}

void ImportanceRatios(RatioLevel level, std::span<const float> logprobs, std::span<const float> old_logprobs,
                      std::span<double> ratios) {
  double sum = 0;
  for (size_t t = 0; t < logprobs.size(); ++t) {
    const double log_ratio = static_cast<double>(logprobs[t]) - static_cast<double>(old_logprobs[t]);
    if (level == RatioLevel::kToken) ratios[t] = BoundedExp(log_ratio);
    sum += log_ratio;
  }
  if (level == RatioLevel::kToken || logprobs.empty()) return;
  const double exponent = level == RatioLevel::kSequenceMean ? sum / static_cast<double>(logprobs.size()) : sum;
  std::fill(ratios.begin(), ratios.end(), BoundedExp(exponent));
}

}  // namespace hone::learner
