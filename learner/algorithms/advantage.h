// Advantages of one group's samples: the reward less a baseline, over a deviation.
//
// Sources: GRPO, arXiv:2402.03300 section 4.1; without the division Dr. GRPO, arXiv:2503.20783; leave-one-out RLOO,
// arXiv:2402.14740; without a baseline REINFORCE++, arXiv:2501.03262.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace hone::learner {

enum class AdvantageBaseline {
  kGroupMean,    // mean(r)
  kLeaveOneOut,  // mean of the group's others: r_i - it = G / (G - 1) (r_i - mean(r))
  kNone,         // 0
};

// What the difference is divided by. The last three look at more than a group, or at tokens: the functions below and
// whitening.h.
enum class AdvantageNormalization {
  kNone,
  kSampleStd,         // std(r) + epsilon, with G - 1
  kPopulationStd,     // with G
  kOthersStd,         // std of the others + epsilon, with G - 2; 1 where the others are equal or fewer than two
  kBatchStd,          // std of all rewards of the step + epsilon, with n - 1
  kWhiten,            // mean 0, variance 1 over the step's tokens, with n - 1
  kWhitenPopulation,  // with n
};

struct AdvantageOptions {
  AdvantageBaseline baseline = AdvantageBaseline::kGroupMean;
  AdvantageNormalization normalization = AdvantageNormalization::kSampleStd;
  double epsilon = 1e-6;
  // In place of baseline and group deviation where it is set (custom.h): from a group's scored rewards, at least one,
  // to as many advantages.
  std::function<std::vector<double>(std::span<const double>)> custom;
};

using Rewards = std::span<const std::optional<double>>;

// nullopt stands for an unscorable trajectory; a reward that is not finite counts as one.
bool IsScored(const std::optional<double>& reward);

// True where at least one is scored, and all scored ones are equal.
bool HasZeroVariance(Rewards rewards);

// One advantage per reward; 0 where it is not scored. Baseline and deviation run over the scored ones alone. With a
// baseline, where those are all equal or fewer than two, every advantage is exactly 0 (never NaN, never rounding
// noise). kBatchStd and the whitenings divide by nothing here.
std::vector<double> ComputeAdvantages(Rewards rewards, const AdvantageOptions& options);

// Standard deviation of the scored ones, with n - 1; 0 where they are all equal or fewer than two.
double SampleDeviation(Rewards rewards);

}  // namespace hone::learner
