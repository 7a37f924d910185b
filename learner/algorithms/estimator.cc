#include "learner/algorithms/estimator.h"

#include <numeric>
#include <utility>

#include "learner/algorithms/returns.h"
#include "learner/algorithms/whitening.h"

namespace hone::learner {
namespace {

std::vector<std::optional<double>> Outcomes(std::span<const OutcomeSample> samples, KlPlacement placement) {
  std::vector<std::optional<double>> rewards;
  rewards.reserve(samples.size());
  for (const OutcomeSample& sample : samples) {
    rewards.push_back(sample.reward);
    if (!sample.reward.has_value() || placement != KlPlacement::kSequenceReward) continue;
    *rewards.back() -= std::accumulate(sample.penalties.begin(), sample.penalties.end(), 0.0);
  }
  return rewards;
}

// The end of the group that begins at `begin`.
size_t GroupEnd(std::span<const OutcomeSample> samples, size_t begin) {
  size_t end = begin;
  while (end < samples.size() && samples[end].group == samples[begin].group) ++end;
  return end;
}

// One for each sample.
std::vector<double> OutcomeAdvantages(std::span<const OutcomeSample> samples, Rewards rewards,
                                      const AdvantageOptions& options) {
  std::vector<double> advantages;
  advantages.reserve(samples.size());
  for (size_t begin = 0, end = 0; begin < samples.size(); begin = end) {
    end = GroupEnd(samples, begin);
    const std::vector<double> group = ComputeAdvantages(rewards.subspan(begin, end - begin), options);
    advantages.insert(advantages.end(), group.begin(), group.end());
  }
  if (options.normalization != AdvantageNormalization::kBatchStd) return advantages;
  const double deviation = SampleDeviation(rewards);
  if (deviation == 0) return advantages;
  for (double& advantage : advantages) advantage /= deviation + options.epsilon;
  return advantages;
}

std::vector<double> TokenAdvantages(const OutcomeSample& sample, double outcome, const EstimatorOptions& options) {
  const size_t count = static_cast<size_t>(sample.tokens);
  if (options.kl_placement != KlPlacement::kTokenReward || !IsScored(sample.reward) || count == 0) {
    return std::vector<double>(count, outcome);
  }
  std::vector<double> returns(count, 0.0);
  for (size_t t = 0; t < sample.penalties.size(); ++t) returns[t] = -sample.penalties[t];
  returns.back() += outcome;
  ReturnsToGo(returns, options.discount);
  return returns;
}

std::vector<std::vector<double>> StepAdvantages(std::span<const OutcomeSample> samples,
                                                const AdvantageOptions& options) {
  std::vector<std::vector<double>> advantages;
  for (size_t begin = 0, end = 0; begin < samples.size(); begin = end) {
    end = GroupEnd(samples, begin);
    std::vector<JudgedSample> group;
    for (const OutcomeSample& sample : samples.subspan(begin, end - begin)) {
      group.push_back({.tokens = sample.tokens});
      if (IsScored(sample.reward)) group.back().steps = sample.steps;
    }
    for (std::vector<double>& tokens : ProcessAdvantages(group, options)) advantages.push_back(std::move(tokens));
  }
  return advantages;
}

}  // namespace

std::vector<std::vector<double>> EstimateAdvantages(std::span<const OutcomeSample> samples,
                                                    const EstimatorOptions& options) {
  if (options.process) return StepAdvantages(samples, options.advantage);
  const std::vector<std::optional<double>> rewards = Outcomes(samples, options.kl_placement);
  const std::vector<double> outcomes = OutcomeAdvantages(samples, rewards, options.advantage);
  std::vector<std::vector<double>> advantages;
  advantages.reserve(samples.size());
  std::vector<std::vector<double>*> in_loss;
  for (size_t i = 0; i < samples.size(); ++i) {
    advantages.push_back(TokenAdvantages(samples[i], outcomes[i], options));
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples[i].in_loss) in_loss.push_back(&advantages[i]);
  }
  const AdvantageNormalization normalization = options.advantage.normalization;
  if (normalization == AdvantageNormalization::kWhiten) Whiten(in_loss, /*population=*/false);
  if (normalization == AdvantageNormalization::kWhitenPopulation) Whiten(in_loss, /*population=*/true);
  return advantages;
}

}  // namespace hone::learner
