#include "learner/algorithms/advantage.h"

#include <cmath>

#include "base/check.h"

namespace hone::learner {
namespace {

// Sums over the scored rewards, in order.
struct Moments {
  explicit Moments(Rewards rewards) {
    for (const auto& reward : rewards) {
      if (!IsScored(reward)) continue;
      lowest = count == 0 || *reward < lowest ? *reward : lowest;
      highest = count == 0 || *reward > highest ? *reward : highest;
      sum += *reward;
      ++count;
    }
    if (count == 0) return;
    mean = sum / count;
    for (const auto& reward : rewards) {
      if (IsScored(reward)) squares += (*reward - mean) * (*reward - mean);
    }
  }
  bool equal() const { return count > 0 && lowest == highest; }

  int count = 0;
  double sum = 0, mean = 0, lowest = 0, highest = 0;
  double squares = 0;  // of the differences to the mean
};

// Of all but `left_out`; 1 where those say nothing.
double OthersDivisor(Rewards rewards, size_t left_out, double epsilon) {
  std::vector<std::optional<double>> others(rewards.begin(), rewards.end());
  others[left_out].reset();
  const double deviation = SampleDeviation(others);
  return deviation > 0 ? deviation + epsilon : 1;
}

// The function's advantages of the scored rewards, in their places.
std::vector<double> CustomAdvantages(Rewards rewards, const AdvantageOptions& options) {
  std::vector<double> scored;
  for (const auto& reward : rewards) {
    if (IsScored(reward)) scored.push_back(*reward);
  }
  std::vector<double> advantages(rewards.size(), 0.0);
  if (scored.empty()) return advantages;
  const std::vector<double> own = options.custom(scored);
  HONE_CHECK_EQ(own.size(), scored.size());
  auto next = own.begin();
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (IsScored(rewards[i])) advantages[i] = *next++;
  }
  return advantages;
}

}  // namespace

bool IsScored(const std::optional<double>& reward) { return reward.has_value() && std::isfinite(*reward); }

bool HasZeroVariance(Rewards rewards) { return Moments(rewards).equal(); }

double SampleDeviation(Rewards rewards) {
  const Moments moments(rewards);
  if (moments.count < 2 || moments.equal()) return 0;
  return std::sqrt(moments.squares / (moments.count - 1));
}

std::vector<double> ComputeAdvantages(Rewards rewards, const AdvantageOptions& options) {
  if (options.custom) return CustomAdvantages(rewards, options);
  std::vector<double> advantages(rewards.size(), 0.0);
  const Moments moments(rewards);
  const bool without_baseline = options.baseline == AdvantageBaseline::kNone;
  if (!without_baseline && (moments.count < 2 || moments.equal())) return advantages;
  const double mean = without_baseline ? 0 : moments.mean;
  double divisor = 1;
  if (moments.count > 1 && !moments.equal()) {
    if (options.normalization == AdvantageNormalization::kSampleStd) {
      divisor = std::sqrt(moments.squares / (moments.count - 1)) + options.epsilon;
    } else if (options.normalization == AdvantageNormalization::kPopulationStd) {
      divisor = std::sqrt(moments.squares / moments.count) + options.epsilon;
    }
  }
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (!IsScored(rewards[i])) continue;
    double advantage = *rewards[i] - mean;
    if (options.baseline == AdvantageBaseline::kLeaveOneOut) {
      advantage = advantage * moments.count / (moments.count - 1);
    }
    if (options.normalization == AdvantageNormalization::kOthersStd) {
      divisor = OthersDivisor(rewards, i, options.epsilon);
    }
    advantages[i] = advantage / divisor;
  }
  return advantages;
}

}  // namespace hone::learner
