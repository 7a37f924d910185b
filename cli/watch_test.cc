#include "cli/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Run RunAt(int step) {
  v1::Run run;
  run.set_name("runs/x");
  run.set_state(v1::RUN_STATE_RUNNING);
  v1::StageProgress* base = run.add_stages();
  base->set_name("base");
  base->set_kind("pretrain");
  base->set_finished(true);
  v1::StageProgress* zero = run.add_stages();
  zero->set_name("zero");
  zero->set_kind("rl");
  zero->set_steps_done(step);
  zero->set_steps_total(80);
  (*zero->mutable_latest_metrics())["reward/mean"] = 1.4256;
  (*zero->mutable_latest_metrics())["rollout/tokens_per_s"] = 18342;
  (*zero->mutable_latest_metrics())["eval/pass_at_1"] = 0.834;
  return run;
}

TEST(Progress, ShowsWhatPeopleAskFor) {
  ProgressText text;
  const absl::Time start = absl::FromUnixSeconds(1000);
  EXPECT_EQ(text.Line(RunAt(10), start), "zero  step 10/80  reward 1.43  pass@1 0.834  tokens/s 18,342");
  // 20 steps in 40 seconds: the 50 that remain take 100.
  EXPECT_EQ(text.Line(RunAt(30), start + absl::Seconds(40)),
            "zero  step 30/80  reward 1.43  pass@1 0.834  tokens/s 18,342  left 1m 40s");
  v1::Run paused = RunAt(31);
  paused.set_state(v1::RUN_STATE_PAUSED);
  EXPECT_THAT(text.Line(paused, start + absl::Seconds(42)), HasSubstr("zero  paused  step 31/80"));
  // A step back (the learner went on from a checkpoint): the rate is measured anew.
  EXPECT_THAT(text.Line(RunAt(20), start + absl::Seconds(60)), Not(HasSubstr("left")));
}

TEST(Progress, SaysWhereNothingIsLearned) {
  ProgressText text;
  v1::Run run = RunAt(10);
  double& share = (*run.mutable_stages(1)->mutable_latest_metrics())["reward/zero_variance_share"];
  share = 0.97;
  EXPECT_THAT(text.Line(run, absl::FromUnixSeconds(1000)), Not(HasSubstr("NO SIGNAL")));
  share = 1;
  EXPECT_THAT(text.Line(run, absl::FromUnixSeconds(1001)),
              HasSubstr("reward 1.43  NO SIGNAL: in every group all rewards are equal"));
}

TEST(Progress, EvaluationsCountPrompts) {
  ProgressText text;
  const absl::Time start = absl::FromUnixSeconds(1000);
  v1::Run run = RunAt(10);
  v1::StageProgress* zero = run.mutable_stages(1);
  zero->set_evaluated_prompts(120);
  zero->set_evaluation_prompts(600);
  EXPECT_THAT(text.Line(run, start), HasSubstr("zero  step 10/80  evaluated 120/600  reward 1.43"));
  // The figures are of the stage before: none is shown. Of a stage that only evaluates the prompts tell what is left.
  zero->set_finished(true);
  v1::StageProgress* final = run.add_stages();
  final->set_name("final");
  final->set_kind("evaluate");
  final->set_evaluation_prompts(600);
  EXPECT_EQ(text.Line(run, start), "final  evaluated 0/600");
  EXPECT_TRUE(text.IsMilestone(run));
  final->set_evaluated_prompts(200);
  EXPECT_EQ(text.Line(run, start + absl::Seconds(10)), "final  evaluated 200/600  left 20s");
  EXPECT_TRUE(text.IsMilestone(run));
  EXPECT_FALSE(text.IsMilestone(run));
}

TEST(Progress, MilestonesAreTenthsStagesAndStates) {
  ProgressText text;
  EXPECT_TRUE(text.IsMilestone(RunAt(0)));
  EXPECT_FALSE(text.IsMilestone(RunAt(7)));
  EXPECT_TRUE(text.IsMilestone(RunAt(8)));
  EXPECT_FALSE(text.IsMilestone(RunAt(9)));
  v1::Run done = RunAt(9);
  done.set_state(v1::RUN_STATE_STOPPED);
  EXPECT_TRUE(text.IsMilestone(done));
}

TEST(Summary, IsATableOfBeforeAndAfter) {
  ASSERT_TRUE(CreateDirectories("watch-summary").ok());
  ASSERT_TRUE(WriteFileAtomic("watch-summary/summary.json", R"({
    "pass_at_1_before": 0.213, "pass_at_1_after": 0.975, "thinking_length_before": 7.25, "thinking_length_after": 17.0,
    "language_share_before": null, "steps": 80, "rollout_tokens": 1234567, "max_abs_logprob_diff": 0,
    "weights_sha256": "abc", "dropped_groups": 12, "unscorable_samples": 0})")
                  .ok());
  EXPECT_EQ(SummaryTable("watch-summary"),
            "                 before   after\n"
            "pass@1           21.3 %  97.5 %\n"
            "thinking tokens     7.2    17.0\n"
            "\n"
            "figure                value\n"
            "steps                 80\n"
            "rollout_tokens        1,234,567\n"
            "max_abs_logprob_diff  0\n"
            "weights_sha256        abc\n"
            "dropped_groups        12\n");
  EXPECT_EQ(SummaryTable("watch-absent"), "");
  ASSERT_TRUE(WriteFileAtomic("watch-summary/summary.json", "[broken").ok());
  EXPECT_EQ(SummaryTable("watch-summary"), "");
}

}  // namespace
}  // namespace hone::cli
