#include "learner/algorithms/process.h"

#include <algorithm>
#include <optional>

namespace hone::learner {

std::vector<std::vector<double>> ProcessAdvantages(std::span<const JudgedSample> group,
                                                   const AdvantageOptions& options) {
  std::vector<std::optional<double>> rewards;  // of all steps, in order
  for (const JudgedSample& sample : group) {
    for (const StepReward& step : sample.steps) rewards.emplace_back(step.reward);
  }
  const std::vector<double> normalized = ComputeAdvantages(rewards, options);
  std::vector<std::vector<double>> advantages;
  size_t next = 0;
  for (const JudgedSample& sample : group) {
    // Each step's own at its last token, then summed from the end.
    std::vector<double>& tokens = advantages.emplace_back(static_cast<size_t>(sample.tokens), 0.0);
    for (const StepReward& step : sample.steps) {
      const double value = normalized[next++];
      if (!tokens.empty()) tokens[static_cast<size_t>(std::clamp<int64_t>(step.token, 0, sample.tokens - 1))] += value;
    }
    for (size_t t = tokens.size(); t-- > 1;) tokens[t - 1] += tokens[t];
  }
  return advantages;
}

}  // namespace hone::learner
