#include "coordinator/run_config/overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "coordinator/run_config/yaml_reader.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

v1::RunSpec Base() {
  return *ParseRunYaml(R"(
name: tiny
datasets:
  train: {sources: [{path: a.jsonl}]}
stages:
  - name: base
    pretrain: {dataset: train, steps: 5}
  - name: zero
    rl: {dataset: train, steps: 3, rewards: [{name: right, accuracy: {}}, {format: {}}]}
)",
                       "base.yaml");
}

v1::RunSpec Set(std::string_view assignment) {
  v1::RunSpec spec = Base();
  const absl::Status status = ApplyOverride(&spec, assignment);
  EXPECT_TRUE(status.ok()) << status;
  return spec;
}

std::string ErrorOf(std::string_view assignment) {
  v1::RunSpec spec = Base();
  const absl::Status status = ApplyOverride(&spec, assignment);
  EXPECT_EQ(spec.SerializeAsString(), Base().SerializeAsString()) << "changed in spite of the error";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(Overrides, ReachEveryPlace) {
  EXPECT_EQ(Set("seed=7").seed(), 7u);
  EXPECT_EQ(Set("stages.zero.rl.group_size=8").stages(1).rl().group_size(), 8);
  EXPECT_EQ(Set("stages.1.rl.group_size=8").stages(1).rl().group_size(), 8);
  EXPECT_EQ(Set("stages[1].rl.group_size=8").stages(1).rl().group_size(), 8);
  EXPECT_EQ(Set("stages.zero.rl.rewards.right.weight=0.5").stages(1).rl().rewards(0).weight(), 0.5);
  EXPECT_EQ(Set("stages.zero.rl.rewards.format.weight=0.5").stages(1).rl().rewards(1).weight(), 0.5) << "by its kind";
  EXPECT_EQ(Set("stages.zero.rl.rewards[1].format.require_finished=false").stages(1).rl().rewards(1).has_format(),
            true);
  EXPECT_EQ(Set("datasets.train.sources.0.path=b=c.jsonl").datasets().at("train").sources(0).path(), "b=c.jsonl");
  EXPECT_EQ(Set("numerics.dtype=bf16").numerics().dtype(), v1::DTYPE_BF16);
  EXPECT_EQ(Set("budget.max_time=90s").budget().max_time().seconds(), 90);
}

TEST(Overrides, ReplaceListsMessagesAndEntriesAsAWhole) {
  const v1::RunSpec list = Set("stages.zero.rl.rewards=[{length: {}, weight: 2}]");
  ASSERT_EQ(list.stages(1).rl().rewards_size(), 1);
  EXPECT_EQ(list.stages(1).rl().rewards(0).weight(), 2);
  EXPECT_EQ(Set("stages.zero.rl.sampling={top_k: 3}").stages(1).rl().sampling().top_k(), 3);
  EXPECT_EQ(Set("stages.zero.rl.sampling.stop=[a, b]").stages(1).rl().sampling().stop_size(), 2);
  const v1::RunSpec entry = Set("datasets.other={sources: [{path: o.jsonl}]}");
  EXPECT_EQ(entry.datasets_size(), 2);
  EXPECT_EQ(entry.datasets().at("other").sources(0).path(), "o.jsonl");
  EXPECT_EQ(Set("datasets.train={}").datasets().at("train").sources_size(), 0);
  const v1::RunSpec reward = Set("stages.zero.rl.rewards.0={format: {}}");
  EXPECT_TRUE(reward.stages(1).rl().rewards(0).has_format());
  EXPECT_FALSE(reward.stages(1).rl().rewards(0).has_name());
}

TEST(Overrides, ErrorsNameThePath) {
  EXPECT_EQ(ErrorOf("stages.zero.rl.group_szie=8"),
            "--set stages.zero.rl.group_szie=8: stages[1].rl.group_szie: unknown field; did you mean 'group_size'?");
  EXPECT_EQ(ErrorOf("stages.zeo.rl.group_size=8"),
            "--set stages.zeo.rl.group_size=8: stages: has no element named 'zeo'; did you mean 'zero'?");
  EXPECT_EQ(ErrorOf("stages.2.name=x"),
            "--set stages.2.name=x: stages: has 2 elements, numbered from 0; there is no 2");
  EXPECT_EQ(ErrorOf("stages.base.rl.steps=1"),
            "--set stages.base.rl.steps=1: stages[0].rl: only one kind may be given, and 'pretrain' is already");
  EXPECT_EQ(ErrorOf("datasets.trian.sources=[]"),
            "--set datasets.trian.sources=[]: datasets.trian: no such entry; did you mean 'train'?");
  EXPECT_THAT(ErrorOf("stages.zero.rl.steps=many"), HasSubstr("stages[1].rl.steps: expected an integer, got 'many'"));
  EXPECT_THAT(ErrorOf("stages.zero.rl.steps="), HasSubstr("stages[1].rl.steps: expected an integer, got nothing"));
  EXPECT_THAT(ErrorOf("seed.low=1"), HasSubstr("seed: holds a value: nothing lies below it"));
  EXPECT_THAT(ErrorOf("seed"), HasSubstr("expected <path>=<value>"));
  EXPECT_THAT(ErrorOf("=3"), HasSubstr("expected <path>=<value>"));
  EXPECT_THAT(ErrorOf("stages=[1"), HasSubstr("not valid YAML"));
  EXPECT_THAT(ErrorOf("a..b=1"), HasSubstr("unknown field"));
}

}  // namespace
}  // namespace hone
