#include "coordinator/core/dynamic_sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone::coordinator {
namespace {

using ::testing::ElementsAre;

v1::RlStage Stage(int prompts, int max_waves) {
  v1::RlStage rl;
  rl.set_prompts_per_step(prompts);
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_max_waves(max_waves);
  return rl;
}

// Rewards `low` and `high` in the group; so has its only component, but for `accuracy`, which is the same for both.
RecordedGroup Group(double low, double high) {
  RecordedGroup group;
  group.summary.samples = group.summary.scored = 2;
  group.summary.reward_min = low;
  group.summary.reward_max = high;
  group.summary.components.push_back({.name = "form", .sum = low + high, .min = low, .max = high, .scored = 2});
  group.summary.components.push_back({.name = "accuracy", .sum = 2, .min = 1, .max = 1, .scored = 2});
  return group;
}

StepGroups Groups(const std::string& pattern) {
  StepGroups groups;
  for (size_t slot = 0; slot < pattern.size(); ++slot) {
    if (pattern[slot] == '.') continue;
    groups[static_cast<int32_t>(slot)] = Group(0, pattern[slot] == '+' ? 1 : 0);
  }
  return groups;
}

TEST(DynamicSampling, WithoutItAStepHasItsPromptsAndNoMore) {
  v1::RlStage rl;
  rl.set_prompts_per_step(3);
  EXPECT_FALSE(ReplacesGroups(rl));
  EXPECT_EQ(SlotCount(rl, Groups("===")), 3);
  const BatchChoice choice = ChooseBatch(rl, Groups("=+="));
  EXPECT_THAT(choice.slots, ElementsAre(0, 1, 2));
  EXPECT_EQ(choice.waves, 1);
  EXPECT_FALSE(choice.failed);
  EXPECT_EQ(SlotCount(Stage(3, 1), Groups("===")), 3);
}

TEST(DynamicSampling, EachWaveDrawsWhatIsMissing) {
  const v1::RlStage rl = Stage(4, 3);
  EXPECT_TRUE(ReplacesGroups(rl));
  EXPECT_EQ(SlotCount(rl, Groups("")), 4);
  EXPECT_EQ(SlotCount(rl, Groups("+.==")), 4) << "the first wave is not whole";
  EXPECT_EQ(SlotCount(rl, Groups("++++")), 4);
  EXPECT_EQ(SlotCount(rl, Groups("+===")), 7);
  EXPECT_EQ(SlotCount(rl, Groups("+===.++")), 7) << "a wave counts once it is whole, whoever came first";
  EXPECT_EQ(SlotCount(rl, Groups("+===+++")), 7);
  EXPECT_EQ(SlotCount(rl, Groups("+===+=+")), 8);
  EXPECT_EQ(SlotCount(rl, Groups("+===+=+=")), 8) << "the third wave is the last";
  const BatchChoice choice = ChooseBatch(rl, Groups("+===+=++"));
  EXPECT_THAT(choice.slots, ElementsAre(0, 4, 6, 7));
  EXPECT_EQ(choice.waves, 3);
}

TEST(DynamicSampling, FallbacksWhereGroupsStayMissing) {
  v1::RlStage rl = Stage(3, 2);
  const StepGroups groups = Groups("=+===");
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_fallback(v1::DYNAMIC_SAMPLING_FALLBACK_PARTIAL);
  EXPECT_THAT(ChooseBatch(rl, groups).slots, ElementsAre(1));
  EXPECT_THAT(ChooseBatch(rl, Groups("======")).slots, ElementsAre(0, 1, 2)) << "an empty batch is none";
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_fallback(v1::DYNAMIC_SAMPLING_FALLBACK_FILL);
  EXPECT_THAT(ChooseBatch(rl, groups).slots, ElementsAre(0, 1, 2));
  EXPECT_THAT(ChooseBatch(rl, Groups("====+")).slots, ElementsAre(0, 1, 4));
  EXPECT_FALSE(ChooseBatch(rl, groups).failed);
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_fallback(v1::DYNAMIC_SAMPLING_FALLBACK_FAIL);
  EXPECT_TRUE(ChooseBatch(rl, groups).failed);
  EXPECT_FALSE(ChooseBatch(rl, Groups("=+=++")).failed);
}

TEST(DynamicSampling, WhereNoneTeachesGroupsWithARewardAreTaken) {
  v1::RlStage rl = Stage(2, 2);
  StepGroups groups = Groups("====");
  for (const int32_t slot : {0, 1, 2}) {
    groups[slot].summary = GroupSummary();
    groups[slot].summary.dropped = true;
  }
  EXPECT_THAT(ChooseBatch(rl, groups).slots, ElementsAre(3));
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_fallback(v1::DYNAMIC_SAMPLING_FALLBACK_FILL);
  EXPECT_THAT(ChooseBatch(rl, groups).slots, ElementsAre(3));
}

TEST(DynamicSampling, AComponentDecidesWhereOneIsNamed) {
  v1::RlStage rl = Stage(1, 2);
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_component("accuracy");
  EXPECT_EQ(SlotCount(rl, Groups("+")), 2) << "the rewards differ, the answers do not";
  rl.mutable_algorithm()->mutable_dynamic_sampling()->set_component("form");
  EXPECT_EQ(SlotCount(rl, Groups("+")), 1);
}

TEST(DynamicSampling, DroppedAndUnscorableGroupsTeachNothing) {
  const v1::RlStage rl = Stage(2, 2);
  StepGroups groups = Groups("++");
  groups[0].summary = GroupSummary();
  groups[0].summary.dropped = true;
  groups[1].summary = GroupSummary();
  groups[1].summary.samples = groups[1].summary.unscorable = 2;
  EXPECT_EQ(SlotCount(rl, groups), 4);
}

}  // namespace
}  // namespace hone::coordinator
