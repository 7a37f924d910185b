#include "coordinator/core/aggregate.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace hone::coordinator {
namespace {

// A group of one trajectory a reward; a negative reward stands for 'unscorable'.
v1::Group MakeGroup(const std::vector<double>& rewards, int tokens, bool truncated = false) {
  v1::Group group;
  group.set_state(v1::GROUP_STATE_COMPLETE);
  for (const double reward : rewards) {
    v1::Trajectory& trajectory = *group.add_trajectories();
    for (int i = 0; i < tokens; ++i) trajectory.add_tokens(i);
    trajectory.set_thinking_tokens(tokens / 2);
    trajectory.set_finish_reason(truncated ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_END_OF_SEQUENCE);
    v1::Verdict& verdict = *trajectory.mutable_verdict();
    const auto state = reward < 0 ? v1::REWARD_STATE_UNSCORABLE : v1::REWARD_STATE_SCORED;
    verdict.set_state(state);
    verdict.set_reward(reward < 0 ? 0 : reward + 0.5);
    v1::RewardComponent& accuracy = *verdict.add_components();
    accuracy.set_name("right");
    accuracy.set_state(state);
    accuracy.set_value(reward < 0 ? 0 : reward);
    v1::RewardComponent& format = *verdict.add_components();
    format.set_name("format");
    format.set_state(v1::REWARD_STATE_SCORED);
    format.set_value(1);
  }
  return group;
}

TEST(AggregateTest, StepFiguresByHand) {
  const GroupSummary a = Summarize(MakeGroup({1, 0}, 4));
  const GroupSummary b = Summarize(MakeGroup({1, -1}, 10, true));
  v1::Group dropped_group;
  dropped_group.set_state(v1::GROUP_STATE_DROPPED);
  const GroupSummary dropped = Summarize(dropped_group);
  const Metrics m = StepFigures({&a, &b, &dropped}, 7);
  EXPECT_EQ(m.at("rollout/groups"), 3);
  EXPECT_EQ(m.at("rollout/dropped_groups"), 1);
  EXPECT_EQ(m.at("rollout/samples"), 4);
  EXPECT_EQ(m.at("rollout/unscorable"), 1);
  EXPECT_EQ(m.at("rollout/tokens"), 28);
  EXPECT_EQ(m.at("rollout/tokens_per_s"), 4);
  EXPECT_EQ(m.at("response_length/mean"), 7);
  EXPECT_EQ(m.at("response_length/max"), 10);
  EXPECT_EQ(m.at("response_length/clip_ratio"), 0.5);
  EXPECT_EQ(m.at("thinking_length/mean"), 3.5);
  // Over the three scored samples alone: an unscorable one is not a 0.
  EXPECT_EQ(m.at("reward/mean"), (1.5 + 0.5 + 1.5) / 3);
  EXPECT_EQ(m.at("reward/min"), 0.5);
  EXPECT_EQ(m.at("reward/max"), 1.5);
  EXPECT_EQ(m.at("reward/right/mean"), 2.0 / 3);
  EXPECT_EQ(m.at("reward/format/mean"), 1);
  EXPECT_EQ(m.at("reward/zero_variance_share"), 0.5);
}

TEST(AggregateTest, EveryFigureIsExplained) {
  const std::string page = ReadFile(HONE_SOURCE_DIR "/docs/metrics.md").value();
  const GroupSummary group = Summarize(MakeGroup({1, 0}, 10));
  Metrics all = StepFigures({&group}, 4.0);
  all.merge(EvaluationFigures({&group}, "right"));
  EXPECT_GT(all.size(), 20u);
  for (const auto& entry : all) {
    std::string name = entry.first;
    for (const std::string component : {"right", "format"}) {
      if (const size_t at = name.find("/" + component + "/"); at != std::string::npos) {
        name.replace(at + 1, component.size(), "<component>");
      }
    }
    EXPECT_NE(page.find("`" + name + "`"), std::string::npos) << name << " is not in docs/metrics.md";
  }
}

TEST(AggregateTest, NothingScoredLeavesMeansOut) {
  const Metrics empty = StepFigures({}, 0);
  EXPECT_EQ(empty.at("rollout/groups"), 0);
  EXPECT_FALSE(empty.contains("reward/mean"));
  EXPECT_FALSE(empty.contains("response_length/mean"));
  const GroupSummary unscorable = Summarize(MakeGroup({-1, -1}, 1));
  const Metrics m = EvaluationFigures({&unscorable}, "right");
  EXPECT_EQ(m.at("eval/unscorable"), 2);
  EXPECT_FALSE(m.contains("eval/pass_at_1"));
}

TEST(AggregateTest, PassAtOneIsTheMeanOfTheAccuracyComponent) {
  const GroupSummary a = Summarize(MakeGroup({1, 0, 1, 1}, 2));
  const GroupSummary b = Summarize(MakeGroup({0, 0, -1, 1}, 2));
  const Metrics m = EvaluationFigures({&a, &b}, "right");
  EXPECT_EQ(m.at("eval/pass_at_1"), 4.0 / 7);
  EXPECT_EQ(m.at("eval/right/mean"), 4.0 / 7);
  EXPECT_EQ(m.at("eval/format/mean"), 1);
  EXPECT_EQ(m.at("eval/problems"), 2);
  EXPECT_EQ(m.at("eval/samples"), 8);
  EXPECT_FALSE(EvaluationFigures({&a}, "").contains("eval/pass_at_1"));
}

}  // namespace
}  // namespace hone::coordinator
