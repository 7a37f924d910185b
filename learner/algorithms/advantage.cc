#include "learner/algorithms/advantage.h"

#include <cmath>

namespace hone::learner {

GroupAdvantages ComputeAdvantages(std::span<const std::optional<double>> rewards, AdvantageNormalization normalization,
                                  double epsilon) {
  GroupAdvantages group;
  group.advantages.assign(rewards.size(), 0.0);
  group.scored.assign(rewards.size(), false);
  int count = 0;
  double sum = 0, lowest = 0, highest = 0;
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (!rewards[i].has_value() || !std::isfinite(*rewards[i])) {
      ++group.excluded;
      continue;
    }
    const double reward = *rewards[i];
    group.scored[i] = true;
    lowest = count == 0 || reward < lowest ? reward : lowest;
    highest = count == 0 || reward > highest ? reward : highest;
    sum += reward;
    ++count;
  }
  group.zero_variance = count > 0 && lowest == highest;
  if (count < 2 || group.zero_variance) return group;

  const double mean = sum / count;
  double squares = 0;
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (group.scored[i]) squares += (*rewards[i] - mean) * (*rewards[i] - mean);
  }
  double divisor = 1;
  if (normalization == AdvantageNormalization::kSampleStd) divisor = std::sqrt(squares / (count - 1)) + epsilon;
  if (normalization == AdvantageNormalization::kPopulationStd) divisor = std::sqrt(squares / count) + epsilon;
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (group.scored[i]) group.advantages[i] = (*rewards[i] - mean) / divisor;
  }
  return group;
}

}  // namespace hone::learner
