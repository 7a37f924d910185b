#include "coordinator/core/unrewarded.h"

#include <gtest/gtest.h>

namespace hone::coordinator {
namespace {

GroupSummary Dropped(const std::string& reason) {
  v1::Group group;
  group.set_state(v1::GROUP_STATE_DROPPED);
  group.set_drop_reason(reason);
  return Summarize(group);
}

// Two samples; with a reason they are unscorable.
GroupSummary Complete(const std::string& unscorable, double reward = 0) {
  v1::Group group;
  group.set_state(v1::GROUP_STATE_COMPLETE);
  const auto state = unscorable.empty() ? v1::REWARD_STATE_SCORED : v1::REWARD_STATE_UNSCORABLE;
  for (int i = 0; i < 2; ++i) {
    v1::Verdict& verdict = *group.add_trajectories()->mutable_verdict();
    verdict.set_state(state);
    verdict.set_reward(reward);
    v1::RewardComponent& measured = *verdict.add_components();
    measured.set_name("language");
    measured.set_state(v1::REWARD_STATE_UNSCORABLE);
    measured.set_reason("only measured");
    v1::RewardComponent& component = *verdict.add_components();
    component.set_name("accuracy");
    component.set_weight(1);
    component.set_state(state);
    component.set_reason(unscorable);
  }
  return Summarize(group);
}

std::string Why(const std::vector<GroupSummary>& groups) {
  std::vector<const GroupSummary*> pointers;
  for (const GroupSummary& group : groups) pointers.push_back(&group);
  return WhyUnrewarded(pointers);
}

TEST(UnrewardedTest, OneRewardIsEnoughWhateverItIs) {
  EXPECT_EQ(Why({}), "");
  EXPECT_EQ(Why({Complete("")}), "");
  EXPECT_EQ(Why({Complete("", 1), Complete("", 1)}), "") << "equal rewards are rewards";
  EXPECT_EQ(Why({Dropped("a"), Complete("b"), Complete("")}), "");
}

TEST(UnrewardedTest, SaysHowManyAndWhy) {
  EXPECT_EQ(Why({Dropped("a"), Dropped("a")}), "all groups (2) were dropped: a");
  EXPECT_EQ(Why({Dropped("a"), Dropped("b"), Dropped("b")}),
            "all groups (3) were dropped, in 2 of 3 groups with the reason: b");
  EXPECT_EQ(Why({Complete("no reference"), Complete("no reference")}),
            "all samples (4) are unscorable: accuracy: no reference");
  EXPECT_EQ(Why({Dropped("a"), Dropped("a"), Complete("no reference")}),
            "of 3 groups 2 were dropped: a; and all samples of the others (2) are unscorable: accuracy: no reference");
}

TEST(UnrewardedTest, OfEqualsTheFirstReasonIsGiven) {
  EXPECT_EQ(Why({Dropped("b"), Dropped("a"), Dropped("a"), Dropped("b")}),
            "all groups (4) were dropped, in 2 of 4 groups with the reason: b");
}

}  // namespace
}  // namespace hone::coordinator
