// Group-relative advantages (GRPO, arXiv:2402.03300 section 4.1; without the division: Dr. GRPO, arXiv:2503.20783).
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace hone::learner {

enum class AdvantageNormalization {
  kNone,           // A_i = r_i - mean(r)
  kSampleStd,      // A_i = (r_i - mean(r)) / (std(r) + epsilon), std with G - 1
  kPopulationStd,  // as above, std with G
};

struct GroupAdvantages {
  std::vector<double> advantages;  // one per reward; 0 where excluded
  std::vector<bool> scored;        // false: no usable reward, the trajectory leaves the loss
  int excluded = 0;                // how many are not scored
  bool zero_variance = false;      // at least one scored, and all of those equal
};

// nullopt stands for an unscorable trajectory; a reward that is not finite counts as one. Mean and deviation run over
// the scored ones alone. Where those are all equal, or fewer than two, every advantage is exactly 0 (never NaN, never
// rounding noise).
GroupAdvantages ComputeAdvantages(std::span<const std::optional<double>> rewards, AdvantageNormalization normalization,
                                  double epsilon);

}  // namespace hone::learner
