#include "learner/rl_batch.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "hone/v1/run.pb.h"
#include "hone/v1/trajectory.pb.h"
#include "learner/rl_step.h"

namespace hone::learner {
namespace {

constexpr int64_t kVersion = 5;

v1::Trajectory* AddTrajectory(v1::Group* group, const std::vector<int32_t>& tokens, double reward) {
  v1::Trajectory* trajectory = group->add_trajectories();
  for (const int32_t token : tokens) {
    trajectory->add_tokens(token);
    trajectory->add_rollout_logprobs(-0.1f * static_cast<float>(token));
  }
  const int32_t count = static_cast<int32_t>(tokens.size());
  if (count > 0) {
    v1::SourceRun* source = trajectory->add_sources();
    source->set_source(v1::TOKEN_SOURCE_SAMPLED);
    source->set_count(count);
    v1::VersionSegment* segment = trajectory->add_segments();
    segment->set_version(kVersion);
    segment->set_count(count);
  }
  trajectory->set_finish_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
  trajectory->mutable_verdict()->set_state(v1::REWARD_STATE_SCORED);
  trajectory->mutable_verdict()->set_reward(reward);
  return trajectory;
}

v1::Group MakeGroup(uint64_t id) {
  v1::Group group;
  group.set_group_id(id);
  group.set_prompt_id("p");
  group.add_prompt_tokens(7);
  group.add_prompt_tokens(8);
  group.set_state(v1::GROUP_STATE_COMPLETE);
  return group;
}

absl::StatusOr<RlBatch> Build(const std::vector<v1::Group>& groups, const RlOptions& options = {}) {
  return BuildRlBatch(groups, options, kVersion, /*vocab_size=*/100, /*max_positions=*/16);
}

TEST(RlBatch, StepsAndStaleness) {
  v1::Group group = MakeGroup(1);
  v1::Trajectory* trajectory = AddTrajectory(&group, {10, 11, 12, 13}, 9);
  // A forced token in the middle is no target.
  trajectory->mutable_sources(0)->set_count(1);
  for (const auto& [source, count] : {std::pair(v1::TOKEN_SOURCE_FORCED, 1), std::pair(v1::TOKEN_SOURCE_SAMPLED, 2)}) {
    v1::SourceRun* run = trajectory->add_sources();
    run->set_source(source);
    run->set_count(count);
  }
  trajectory->mutable_segments(0)->set_count(1);
  trajectory->mutable_segments(0)->set_version(kVersion - 2);
  v1::VersionSegment* rest = trajectory->add_segments();
  rest->set_version(kVersion);
  rest->set_count(3);
  const auto add = [&](const char* name, double weight, double value) {
    v1::RewardComponent* component = trajectory->mutable_verdict()->add_components();
    component->set_name(name);
    component->set_weight(weight);
    component->set_value(value);
    return component;
  };
  v1::RewardComponent* judge = add("arithmetic", 2, 0.5);
  for (const int32_t last_token : {1, 2}) {
    v1::StepScore* step = judge->add_steps();
    step->set_last_token(last_token);
    step->set_value(last_token == 1 ? 1 : 0);
  }
  add("accuracy", 3, 1);
  add("length", 0, 50);
  RlOptions options;
  options.process = true;
  options.step_components = {"arithmetic"};
  options.outcome_step = true;
  const auto batch = Build({group}, options);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_EQ(batch->sequences[0].targets.size(), 3u);
  const std::vector<StepReward>& steps = batch->samples[0].steps;
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].token, 0) << "it ends in the forced token, behind the first target";
  EXPECT_EQ(steps[0].reward, 2);
  EXPECT_EQ(steps[1].token, 1);
  EXPECT_EQ(steps[1].reward, 0);
  EXPECT_EQ(steps[2].token, 2);
  EXPECT_EQ(steps[2].reward, 3);
  EXPECT_EQ(batch->staleness_max, 2);
  EXPECT_EQ(batch->staleness, 2);
  EXPECT_EQ(batch->tokens, 4);
  EXPECT_FALSE(batch->samples[0].on_policy);
  options.outcome_step = false;
  EXPECT_EQ(Build({group}, options)->samples[0].steps.size(), 2u);
}

TEST(RlBatch, SequencesAndAdvantages) {
  v1::Group group = MakeGroup(1);
  AddTrajectory(&group, {10, 11}, 1);
  AddTrajectory(&group, {12}, 0);
  RlOptions options;
  options.advantage.normalization = AdvantageNormalization::kNone;
  const auto batch = Build({group}, options);
  ASSERT_TRUE(batch.ok()) << batch.status().ToString();
  ASSERT_EQ(batch->samples.size(), 2u);
  EXPECT_EQ(batch->sequences[0].tokens, (std::vector<int32_t>{7, 8, 10, 11}));
  EXPECT_EQ(batch->sequences[0].targets, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(batch->samples[0].rollout_logprobs, (std::vector<float>{-1.0f, -0.1f * 11}));
  EXPECT_EQ(batch->samples[0].reward, 1);
  EXPECT_EQ(AdvantagesOf(*batch, options, {}), (std::vector<std::vector<double>>{{0.5, 0.5}, {-0.5}}));
  EXPECT_TRUE(batch->samples[0].in_loss && batch->samples[0].on_policy);
}

TEST(RlBatch, OnlySampledTokensAreTargets) {
  v1::Group group = MakeGroup(1);
  v1::Trajectory* trajectory = AddTrajectory(&group, {10, 11, 12, 13, 14}, 1);
  trajectory->clear_sources();
  for (const auto& [source, count] : std::vector<std::pair<v1::TokenSource, int>>{{v1::TOKEN_SOURCE_SAMPLED, 1},
                                                                                  {v1::TOKEN_SOURCE_FORCED, 2},
                                                                                  {v1::TOKEN_SOURCE_SAMPLED, 1},
                                                                                  {v1::TOKEN_SOURCE_ENVIRONMENT, 1}}) {
    v1::SourceRun* run = trajectory->add_sources();
    run->set_source(source);
    run->set_count(count);
  }
  const auto batch = Build({group});
  ASSERT_TRUE(batch.ok()) << batch.status().ToString();
  EXPECT_EQ(batch->sequences[0].targets, (std::vector<int32_t>{2, 5}));
  EXPECT_EQ(batch->samples[0].rollout_logprobs.size(), 2u);
}

TEST(RlBatch, WhatLeavesTheLossIsCounted) {
  v1::Group group = MakeGroup(1);
  AddTrajectory(&group, {10}, 1);
  AddTrajectory(&group, {11}, 0);
  AddTrajectory(&group, {12}, 1)->mutable_verdict()->set_state(v1::REWARD_STATE_UNSCORABLE);
  AddTrajectory(&group, {13}, std::numeric_limits<double>::quiet_NaN());
  AddTrajectory(&group, {14}, 1)->set_finish_reason(v1::FINISH_REASON_LENGTH);
  AddTrajectory(&group, {}, 0);
  v1::Group dropped = MakeGroup(2);
  dropped.set_state(v1::GROUP_STATE_DROPPED);
  v1::Group even = MakeGroup(3);
  AddTrajectory(&even, {10}, 1);
  AddTrajectory(&even, {11}, 1);
  RlOptions options;
  options.mask_truncated = true;
  const auto batch = Build({dropped, group, even}, options);
  ASSERT_TRUE(batch.ok()) << batch.status().ToString();
  EXPECT_EQ(batch->group_count, 3);
  EXPECT_EQ(batch->dropped_groups, 1);
  EXPECT_EQ(batch->zero_variance_groups, 1);
  EXPECT_EQ(batch->excluded, 2);
  EXPECT_EQ(batch->truncated, 1);
  EXPECT_EQ(batch->empty, 1);
  std::vector<bool> in_loss;
  for (const RlSample& sample : batch->samples) in_loss.push_back(sample.in_loss);
  EXPECT_EQ(in_loss, (std::vector<bool>{true, true, false, false, false, false, true, true}));
  EXPECT_EQ(batch->samples[0].group, 1);
  EXPECT_EQ(batch->samples[6].group, 2);
  // The masked one's reward still counts in its group's mean: it was sampled.
  const auto advantages = AdvantagesOf(*batch, options, {});
  EXPECT_NEAR(advantages[4][0], advantages[0][0], 1e-12);
  EXPECT_FALSE(batch->samples[2].reward.has_value() || batch->samples[3].reward.has_value());
  options.mask_truncated = false;
  EXPECT_TRUE(Build({group}, options)->samples[4].in_loss);
}

TEST(RlBatch, ForeignVersionsAreNotOnPolicy) {
  v1::Group group = MakeGroup(1);
  AddTrajectory(&group, {10, 11}, 1)->mutable_segments(0)->set_version(kVersion - 1);
  EXPECT_FALSE(Build({group})->samples[0].on_policy);
}

TEST(RlBatch, IllFormedGroupsAreRefused) {
  const auto error = [](auto spoil) {
    v1::Group group = MakeGroup(77);
    spoil(AddTrajectory(&group, {10, 11}, 1));
    const absl::Status status = Build({group}).status();
    EXPECT_NE(status.ToString().find("group 77 (prompt 'p'): sample 0"), std::string::npos) << status.ToString();
    return status.code();
  };
  EXPECT_EQ(error([](v1::Trajectory* t) { t->add_rollout_logprobs(0); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error([](v1::Trajectory* t) { t->set_tokens(0, 100); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error([](v1::Trajectory* t) { t->set_tokens(0, -1); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error([](v1::Trajectory* t) { t->mutable_sources(0)->set_count(3); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error([](v1::Trajectory* t) { t->mutable_segments(0)->set_count(1); }), absl::StatusCode::kInvalidArgument);
  v1::Group group = MakeGroup(1);
  AddTrajectory(&group, std::vector<int32_t>(20, 10), 1);
  EXPECT_EQ(Build({group}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(RlBatch, OptionsComeFromTheStage) {
  v1::RlStage stage;
  auto options = MakeRlOptions(stage);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->objective.policy.low, 0.2);
  EXPECT_EQ(options->objective.policy.high, 0.2);
  EXPECT_EQ(options->minibatches, 1);
  stage.mutable_algorithm()->set_clip_low(0.3);
  EXPECT_EQ(MakeRlOptions(stage)->objective.policy.high, 0.3);
  stage.mutable_algorithm()->set_clip_high(0.28);
  EXPECT_EQ(MakeRlOptions(stage)->objective.policy.high, 0.28);
  stage.mutable_algorithm()->set_aggregation(v1::LOSS_AGGREGATION_CONSTANT);
  EXPECT_EQ(MakeRlOptions(stage)->objective.aggregation, LossAggregation::kConstant);
  stage.mutable_sampling()->set_temperature(0);
  EXPECT_FALSE(MakeRlOptions(stage).ok());
  stage.mutable_sampling()->set_temperature(1);
  stage.set_minibatches(0);
  EXPECT_FALSE(MakeRlOptions(stage).ok());
}

}  // namespace
}  // namespace hone::learner
