// From the rewards of a step's samples to the advantage of each of their tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "learner/algorithms/advantage.h"
#include "learner/algorithms/kl.h"
#include "learner/algorithms/process.h"

namespace hone::learner {

struct EstimatorOptions {
  AdvantageOptions advantage;
  // Where not kLoss, OutcomeSample::penalties are taken off the rewards.
  KlPlacement kl_placement = KlPlacement::kLoss;
  double discount = 1;   // kTokenReward: of the returns
  bool process = false;  // from the rewards of steps, not of samples
};

// One sample of a step. Those of a group stand side by side.
struct OutcomeSample {
  int32_t group = 0;
  std::optional<double> reward;   // nullopt: unscorable
  bool in_loss = false;           // of the tokens that a whitening runs over
  int64_t tokens = 0;             // sampled
  std::vector<StepReward> steps;  // with `process`
  std::vector<double> penalties;  // kl_coefficient * KL of each token; empty where the KL is not in the reward
};

// One advantage for each token of each sample:
//   1. kSequenceReward: a sample's penalties are summed and taken off its reward;
//   2. the group's baseline and deviation (ComputeAdvantages), or the step's deviation (kBatchStd);
//   3. the same for every token; kTokenReward: the return of the tokens' rewards from the token on, which are its
//      penalty and, for the last one, the outcome of 2;
//   4. whitened over the tokens in the loss, where the normalization says so.
// With `process` they are ProcessAdvantages of each group instead. The advantages of unscorable samples are 0.
std::vector<std::vector<double>> EstimateAdvantages(std::span<const OutcomeSample> samples,
                                                    const EstimatorOptions& options);

}  // namespace hone::learner
