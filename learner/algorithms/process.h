// Advantages from rewards of steps: process supervision (DeepSeekMath, arXiv:2402.03300, section 4.1.3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learner/algorithms/advantage.h"

namespace hone::learner {

// One step of a sample.
struct StepReward {
  int64_t token = 0;  // of the sample's sampled ones: the step's last
  double reward = 0;
};

// A sample whose steps were judged; without steps it neither counts nor learns.
struct JudgedSample {
  std::span<const StepReward> steps;
  int64_t tokens = 0;
};

// For each sample of one group the advantage of each of its tokens: the sum, over the steps that end at the token or
// behind it, of (r - mean(R)) / d, R being all step rewards of the group and d of `options` (kNone, kSampleStd,
// kPopulationStd). Where these are all equal or fewer than two, all advantages are exactly 0. Rewards that are not
// finite are left out.
std::vector<std::vector<double>> ProcessAdvantages(std::span<const JudgedSample> group,
                                                   const AdvantageOptions& options);

}  // namespace hone::learner
