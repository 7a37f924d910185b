#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/yaml_reader.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<v1::RlStage> ResolveRl(const std::string& algorithm, const std::string& more = "",
                                      const std::string& rewards = "[{accuracy: {}}]") {
  const auto spec = ParseRunYaml(R"(
name: tiny
model: {path: somewhere}
datasets:
  train: {sources: [{path: a.jsonl}]}
stages:
  - name: zero
    rl:
      dataset: train
      steps: 3
      rewards: )" + rewards + R"(
      optimizer: {learning_rate: 1e-3}
      )" + more + "\n      algorithm: {" +
                                     algorithm + "}\n",
                                 "algorithm.yaml");
  if (!spec.ok()) return spec.status();
  const auto resolved = ResolveRunSpec(*spec);
  if (!resolved.ok()) return resolved.status();
  EXPECT_EQ(ResolveRunSpec(*resolved)->SerializeAsString(), resolved->SerializeAsString()) << "resolved twice";
  return resolved->stages(0).rl();
}

v1::AlgorithmSpec Resolved(const std::string& algorithm) {
  const auto rl = ResolveRl(algorithm);
  EXPECT_TRUE(rl.ok()) << rl.status();
  return rl.ok() ? rl->algorithm() : v1::AlgorithmSpec();
}

TEST(ResolveAlgorithm, PresetsAreThePapersSettings) {
  const v1::AlgorithmSpec grpo = Resolved("preset: grpo");
  EXPECT_EQ(grpo.aggregation(), v1::LOSS_AGGREGATION_SEQUENCE_MEAN_TOKEN_MEAN);
  EXPECT_EQ(grpo.kl_coefficient(), 0.04);
  EXPECT_EQ(grpo.kl_estimator(), v1::KL_ESTIMATOR_K3);
  EXPECT_EQ(grpo.advantage_normalization(), v1::ADVANTAGE_NORMALIZATION_SAMPLE_STD);

  const v1::AlgorithmSpec dr_grpo = Resolved("preset: dr_grpo");
  EXPECT_EQ(dr_grpo.advantage_normalization(), v1::ADVANTAGE_NORMALIZATION_NONE);
  EXPECT_EQ(dr_grpo.aggregation(), v1::LOSS_AGGREGATION_CONSTANT);
  EXPECT_EQ(dr_grpo.kl_coefficient(), 0);

  const v1::AlgorithmSpec dapo = Resolved("preset: dapo");
  EXPECT_EQ(dapo.clip_low(), 0.2);
  EXPECT_EQ(dapo.clip_high(), 0.28);
  EXPECT_EQ(dapo.aggregation(), v1::LOSS_AGGREGATION_TOKEN_MEAN);
  EXPECT_EQ(dapo.dynamic_sampling().max_waves(), 4);
  EXPECT_EQ(dapo.dynamic_sampling().component(), "accuracy");
  EXPECT_EQ(dapo.dynamic_sampling().fallback(), v1::DYNAMIC_SAMPLING_FALLBACK_PARTIAL);
  EXPECT_EQ(Resolved("preset: dapo, dynamic_sampling: {max_waves: 1}").dynamic_sampling().max_waves(), 1);
  EXPECT_FALSE(Resolved("preset: gspo").has_dynamic_sampling());

  const v1::AlgorithmSpec gspo = Resolved("preset: gspo");
  EXPECT_EQ(gspo.ratio(), v1::RATIO_LEVEL_SEQUENCE_MEAN);
  EXPECT_EQ(gspo.clip_low(), 3e-4);
  EXPECT_EQ(gspo.clip_high(), 4e-4);

  const v1::AlgorithmSpec cispo = Resolved("preset: cispo");
  EXPECT_EQ(cispo.policy_loss(), v1::POLICY_LOSS_CISPO);
  EXPECT_EQ(cispo.clip_low(), 1);

  const v1::AlgorithmSpec rloo = Resolved("preset: rloo");
  EXPECT_EQ(rloo.baseline(), v1::ADVANTAGE_BASELINE_LEAVE_ONE_OUT);
  EXPECT_EQ(rloo.ratio(), v1::RATIO_LEVEL_SEQUENCE_PRODUCT);
  EXPECT_EQ(rloo.kl_placement(), v1::KL_PLACEMENT_SEQUENCE_REWARD);
  EXPECT_EQ(rloo.kl_estimator(), v1::KL_ESTIMATOR_K1);

  const v1::AlgorithmSpec reinforce = Resolved("preset: reinforce_plus_plus");
  EXPECT_EQ(reinforce.baseline(), v1::ADVANTAGE_BASELINE_NONE);
  EXPECT_EQ(reinforce.advantage_normalization(), v1::ADVANTAGE_NORMALIZATION_WHITEN);
  EXPECT_EQ(reinforce.kl_placement(), v1::KL_PLACEMENT_TOKEN_REWARD);

  const v1::AlgorithmSpec baseline = Resolved("preset: reinforce_plus_plus_baseline");
  EXPECT_EQ(baseline.baseline(), v1::ADVANTAGE_BASELINE_GROUP_MEAN);
  EXPECT_EQ(baseline.kl_estimator(), v1::KL_ESTIMATOR_K2);
}

TEST(ResolveAlgorithm, WhatIsWrittenStandsAboveThePreset) {
  const v1::AlgorithmSpec gspo = Resolved("preset: gspo, clip_high: 0.1, kl_coefficient: 0.5");
  EXPECT_EQ(gspo.clip_low(), 3e-4);
  EXPECT_EQ(gspo.clip_high(), 0.1);
  EXPECT_EQ(gspo.kl_coefficient(), 0.5);
  EXPECT_EQ(gspo.preset(), v1::ALGORITHM_PRESET_GSPO);
  EXPECT_EQ(Resolved("preset: rloo, kl_coefficient: 0").kl_coefficient(), 0);
  EXPECT_EQ(Resolved("baseline: none").advantage_normalization(), v1::ADVANTAGE_NORMALIZATION_NONE);
  EXPECT_EQ(Resolved("corrections: [{level: token, mode: truncate, upper: 2}]").corrections(0).lower(), 0);
}

TEST(ResolveAlgorithm, WhatCannotGoTogetherIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"preset: grpq", "algorithm.preset: "},
      {"dual_clip: 0.5", "rl.algorithm.dual_clip: expected a number above 1"},
      {"discount: 0", "rl.algorithm.discount: expected a number above 0"},
      {"entropy_coefficient: -1", "rl.algorithm.entropy_coefficient: expected"},
      {"baseline: none, advantage_normalization: sample_std", "advantage_normalization: without a baseline"},
      {"advantage_normalization: others_std", "others_std goes with baseline: leave_one_out"},
      {"discount: 0.9", "rl.algorithm.discount: only with kl_placement: token_reward"},
      {"preset: gspo, kl_placement: token_reward", "rl.algorithm.ratio: expected token"},
      {"preset: cispo, ratio: sequence_mean", "rl.algorithm.ratio: expected token: CISPO"},
      {"preset: cispo, dual_clip: 3", "rl.algorithm.dual_clip: only with policy_loss: clip"},
      {"policy_loss: cispo_cap", "rl.algorithm.clip_high: required"},
      {"corrections: [{mode: mask, upper: 2}]", "rl.algorithm.corrections[0].level: required"},
      {"corrections: [{level: token, upper: 2}]", "corrections[0].mode: required"},
      {"corrections: [{level: token, mode: mask}]", "corrections[0].upper: required"},
      {"corrections: [{level: token, mode: mask, lower: 2, upper: 2}]", "corrections[0].lower: expected"},
      {"corrections: [{level: token, mode: truncate, lower: 0.5, upper: 2}]", "corrections[0].lower: only with mode"},
      {"old_policy: rollout, corrections: [{level: token, mode: mask, upper: 2}]",
       "rl.algorithm.corrections: not with old_policy: rollout"},
  };
  for (const auto& [algorithm, error] : cases) {
    EXPECT_THAT(std::string(ResolveRl(algorithm).status().message()), HasSubstr(error)) << algorithm;
  }
}

TEST(ResolveAlgorithm, AGroupOfOneNeedsNoBaseline) {
  EXPECT_THAT(std::string(ResolveRl("", "group_size: 1").status().message()),
              HasSubstr("rl.group_size: expected at least 2, got 1"));
  EXPECT_TRUE(ResolveRl("baseline: none", "group_size: 1").ok());
  EXPECT_TRUE(ResolveRl("preset: reinforce_plus_plus", "group_size: 1").ok());
}

std::string Error(const std::string& algorithm) { return std::string(ResolveRl(algorithm).status().message()); }

TEST(ResolveAlgorithm, OneStepOffTakesTheSamplingWeightsForTheOldPolicy) {
  const auto old_policy = [](const std::string& algorithm, const std::string& mode) {
    const auto rl = ResolveRl(algorithm, "mode: " + mode);
    EXPECT_TRUE(rl.ok()) << rl.status();
    return rl->algorithm().old_policy();
  };
  EXPECT_EQ(old_policy("", "sync"), v1::OLD_POLICY_STEP_START);
  EXPECT_EQ(old_policy("", "one_step_off"), v1::OLD_POLICY_ROLLOUT);
  EXPECT_EQ(old_policy("corrections: [{level: token, mode: truncate, upper: 2}]", "one_step_off"),
            v1::OLD_POLICY_STEP_START);
  EXPECT_EQ(old_policy("old_policy: step_start", "one_step_off"), v1::OLD_POLICY_STEP_START);
}

TEST(ResolveAlgorithm, DynamicSampling) {
  const v1::DynamicSamplingSpec own = Resolved("dynamic_sampling: {}").dynamic_sampling();
  EXPECT_EQ(own.max_waves(), 4);
  EXPECT_EQ(own.component(), "") << "the reward itself";
  EXPECT_EQ(Resolved("preset: dapo, dynamic_sampling: {component: ''}").dynamic_sampling().component(), "");
  EXPECT_THAT(Error("preset: reinforce_plus_plus, dynamic_sampling: {}"),
              HasSubstr("algorithm.dynamic_sampling: not with baseline: none"));
  EXPECT_TRUE(ResolveRl("preset: dapo, custom_advantage: {name: max_rl}").ok());
  EXPECT_THAT(Error("dynamic_sampling: {max_waves: 0}"),
              HasSubstr("stages[0].rl.algorithm.dynamic_sampling.max_waves: expected at least 1, got 0"));
  EXPECT_THAT(Error("dynamic_sampling: {component: acuracy}"),
              HasSubstr("dynamic_sampling.component: expected a component of the stage's rewards (accuracy), got "
                        "'acuracy'"));
}

TEST(ResolveAlgorithm, ProcessSupervisionNeedsAJudgeOfSteps) {
  EXPECT_EQ(Resolved("").supervision(), v1::SUPERVISION_OUTCOME);
  EXPECT_THAT(Error("supervision: process"), HasSubstr("algorithm.supervision: process needs a reward component"));
  const auto process = [](const std::string& more) {
    const auto rl = ResolveRl("supervision: process" + more, "", "[{arithmetic: {words: {plus: '+'}}}]");
    return rl.ok() ? "" : std::string(rl.status().message());
  };
  EXPECT_EQ(process(""), "");
  EXPECT_THAT(process(", dynamic_sampling: {}"), HasSubstr("dynamic_sampling: not with supervision: process"));
  EXPECT_THAT(process(", baseline: leave_one_out"), HasSubstr("algorithm.baseline: expected group_mean"));
  EXPECT_THAT(process(", advantage_normalization: whiten"), HasSubstr("advantage_normalization: expected none,"));
  EXPECT_THAT(process(", ratio: sequence_mean"), HasSubstr("algorithm.ratio: expected token"));
  EXPECT_THAT(process(", kl_coefficient: 1, kl_placement: token_reward"), HasSubstr("kl_placement: expected loss"));
  EXPECT_THAT(std::string(ResolveRl("", "", "[{arithmetic: {words: {plus: add}}}]").status().message()),
              HasSubstr("rewards[0].arithmetic.words.plus: expected one of + - * / =, got 'add'"));
}

TEST(ResolveAlgorithm, PiecesOfOnesOwnStandInPlaceOfOthers) {
  const v1::AlgorithmSpec own =
      Resolved("custom_loss: {name: sapo, parameters: {tau_positive: 2}}, custom_advantage: {name: max_rl}");
  EXPECT_EQ(own.baseline(), v1::ADVANTAGE_BASELINE_NONE);
  EXPECT_EQ(own.advantage_normalization(), v1::ADVANTAGE_NORMALIZATION_NONE);
  EXPECT_EQ(own.custom_loss().parameters().at("tau_positive"), 2);
  EXPECT_THAT(Error("custom_loss: {}"), HasSubstr("algorithm.custom_loss.name: required"));
  EXPECT_THAT(Error("custom_loss: {name: sapo}, policy_loss: cispo"), HasSubstr("algorithm.policy_loss: not with"));
  EXPECT_THAT(Error("custom_loss: {name: sapo}, dual_clip: 3"), HasSubstr("algorithm.dual_clip: not with"));
  EXPECT_THAT(Error("custom_advantage: {name: a}, baseline: group_mean"), HasSubstr("algorithm.baseline: not with"));
  EXPECT_THAT(Error("custom_advantage: {name: a}, advantage_normalization: sample_std"),
              HasSubstr("algorithm.advantage_normalization: without a baseline"));
}

TEST(ResolveAlgorithm, AReferenceThatIsRenewedMustExist) {
  EXPECT_EQ(Resolved("kl_coefficient: 0.001, reference_refresh_steps: 400").reference_refresh_steps(), 400);
  EXPECT_THAT(Error("reference_refresh_steps: 400"),
              HasSubstr("algorithm.reference_refresh_steps: without kl_coefficient above 0 there is no reference"));
  EXPECT_THAT(Error("kl_coefficient: 1, reference_refresh_steps: -1"), HasSubstr("expected at least 0, got -1"));
}

}  // namespace
}  // namespace hone
