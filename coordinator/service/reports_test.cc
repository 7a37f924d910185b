// Reports over folders that refuse writes for a while, as a full disk does.
#include "coordinator/service/reports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/files.h"

namespace hone::coordinator {
namespace {

using ::testing::HasSubstr;

struct ReportsTest : ::testing::Test {
  ReportsTest() : folder(absl::StrCat("reports_test.", getpid())) {
    HONE_CHECK_OK(RemoveTree(folder));
    HONE_CHECK_OK(RemoveTree(folder + ".away"));
    v1::JournalRecord created;
    created.mutable_run_created()->set_run("demo");
    created.mutable_run_created()->set_output_dir(folder);
    v1::StageSpec* stage = created.mutable_run_created()->mutable_spec()->add_stages();
    stage->set_name("zero");
    stage->mutable_rl();
    Add(created);
  }
  ~ReportsTest() override {
    HONE_CHECK_OK(RemoveTree(folder));
    HONE_CHECK_OK(RemoveTree(folder + ".away"));
  }

  void Add(const v1::JournalRecord& record) {
    journal.push_back(record);
    const int64_t end = static_cast<int64_t>(journal.size());
    reports.Handle(record, {end - 1, end});
  }
  void AddStep(int step) {
    v1::JournalRecord record;
    record.mutable_step_recorded()->set_run("demo");
    record.mutable_step_recorded()->set_stage("zero");
    record.mutable_step_recorded()->set_step(step);
    (*record.mutable_step_recorded()->mutable_metrics())["loss"] = step;
    Add(record);
  }
  void AddEvaluation(int step, double pass_at_1 = 0.5) {
    v1::JournalRecord record;
    record.mutable_evaluation_recorded()->set_run("demo");
    record.mutable_evaluation_recorded()->set_stage("zero");
    record.mutable_evaluation_recorded()->set_step(step);
    (*record.mutable_evaluation_recorded()->mutable_metrics())["eval/pass_at_1"] = pass_at_1;
    Add(record);
  }
  void AddCheckpoint(int step) {
    v1::JournalRecord record;
    record.mutable_checkpoint_recorded()->set_run("demo");
    record.mutable_checkpoint_recorded()->set_stage("zero");
    record.mutable_checkpoint_recorded()->set_step(step);
    record.mutable_checkpoint_recorded()->set_path(absl::StrCat("/zero/step-", step));
    Add(record);
  }
  // Of `steps` steps, with the weights of the checkpoint at `weights_step`.
  void AddStageEnd(int steps, int weights_step) {
    v1::JournalRecord record;
    record.mutable_stage_finished()->set_run("demo");
    record.mutable_stage_finished()->set_stage("zero");
    record.mutable_stage_finished()->set_steps(steps);
    record.mutable_stage_finished()->set_path(absl::StrCat("/zero/step-", weights_step));
    record.mutable_stage_finished()->set_root_hash(absl::StrCat("hash-", weights_step));
    Add(record);
  }
  // A group of two samples, of which the first `unscorable` are; dropped where there are more.
  void AddGroup(v1::GroupPurpose purpose, int step, int slot, int unscorable) {
    v1::JournalRecord record;
    v1::GroupRecorded& recorded = *record.mutable_group_recorded();
    recorded.set_run("demo");
    recorded.set_stage("zero");
    recorded.set_purpose(purpose);
    recorded.set_step(step);
    recorded.set_slot(slot);
    recorded.mutable_group()->set_state(unscorable > 2 ? v1::GROUP_STATE_DROPPED : v1::GROUP_STATE_COMPLETE);
    for (int i = 0; i < 2 && unscorable <= 2; ++i) {
      recorded.mutable_group()->add_trajectories()->mutable_verdict()->set_state(
          i < unscorable ? v1::REWARD_STATE_UNSCORABLE : v1::REWARD_STATE_SCORED);
    }
    Add(record);
  }
  void AddEnd() {
    v1::JournalRecord record;
    record.mutable_run_state_changed()->set_run("demo");
    record.mutable_run_state_changed()->set_state(v1::RUN_STATE_SUCCEEDED);
    Add(record);
  }
  // Works for every user: a file stands where the folder was.
  void RefuseWrites() {
    HONE_CHECK_OK(RenamePath(folder, folder + ".away"));
    HONE_CHECK_OK(WriteFileAtomic(folder, "in the way"));
  }
  void AllowWrites() {
    HONE_CHECK_OK(RemoveTree(folder));
    HONE_CHECK_OK(RenamePath(folder + ".away", folder));
  }
  std::string Read(const std::string& name) { return ReadFile(JoinPath(folder, name)).value(); }
  // The steps and evaluations in the order of metrics.jsonl: "s1 s2 e2 ".
  std::string Rows() {
    const std::string text = Read("metrics.jsonl");
    std::string rows;
    for (size_t at = text.find("\"event\""); at != std::string::npos; at = text.find("\"event\"", at + 1)) {
      const size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      const size_t step = line.find("\"step\":");
      absl::StrAppend(&rows, line.find("evaluation") != std::string::npos ? "e" : "s",
                      std::stoi(line.substr(step + sizeof("\"step\":") - 1)), " ");
    }
    return rows;
  }

  Reports::Scan JournalScan() {
    return [this](int64_t end, const std::function<void(const v1::JournalRecord&)>& visit) {
      for (int64_t i = 0; i < end; ++i) visit(journal[i]);
      return absl::OkStatus();
    };
  }

  const std::string folder;
  std::vector<v1::JournalRecord> journal;  // position = index
  Reports reports{JournalScan(), [](const std::string&) { return 1.0; }};
};

TEST_F(ReportsTest, RowsThatCouldNotBeWrittenComeLater) {
  AddStep(1);
  RefuseWrites();
  AddStep(2);
  AddEvaluation(2);
  AllowWrites();
  // None may stand before the missing ones, whether or not the report is open again by now.
  AddStep(3);
  reports.Refresh(absl::ZeroDuration());
  EXPECT_EQ(Rows(), "s1 s2 e2 s3 ");
  EXPECT_THAT(Read("summary.json"), HasSubstr("\"steps\": 3"));
}

TEST_F(ReportsTest, AfterIsMeasuredOnTheBestWeightsWhereThoseAreKept) {
  AddEvaluation(0, 0.1);
  for (int step = 1; step <= 3; ++step) {
    AddStep(step);
    AddCheckpoint(step);
    AddEvaluation(step, step == 2 ? 0.75 : 0.25);
  }
  AddStageEnd(3, 2);
  AddEnd();
  EXPECT_THAT(Read("summary.json"),
              AllOf(HasSubstr("\"pass_at_1_before\": 0.1"), HasSubstr("\"pass_at_1_after\": 0.75"),
                    HasSubstr("\"weights_sha256\": \"hash-2\""), HasSubstr("\"weights_step\": 2")));
}

TEST_F(ReportsTest, WhatWasLostIsCountedOverTheWholeRunAndOnce) {
  AddGroup(v1::GROUP_PURPOSE_EVALUATE, 0, 0, 3);
  AddGroup(v1::GROUP_PURPOSE_EVALUATE, 0, 1, 1);
  AddGroup(v1::GROUP_PURPOSE_TRAIN, 1, 0, 3);
  AddGroup(v1::GROUP_PURPOSE_TRAIN, 1, 0, 3);  // the same record again
  AddGroup(v1::GROUP_PURPOSE_TRAIN, 1, 1, 0);
  AddStep(1);
  RefuseWrites();
  AddStep(2);  // the report is given up, and opened from the journal
  AllowWrites();
  reports.Refresh(absl::ZeroDuration());
  AddGroup(v1::GROUP_PURPOSE_TRAIN, 3, 0, 2);  // no step comes of it
  AddEnd();
  EXPECT_THAT(Read("summary.json"), HasSubstr("\"dropped_groups\": 2,"));
  EXPECT_THAT(Read("summary.json"), HasSubstr("\"unscorable_samples\": 3,"));
}

TEST_F(ReportsTest, ARunThatEndsWhileNothingCanBeWrittenLeavesItsSummaryLater) {
  AddStep(1);
  RefuseWrites();
  AddStep(2);
  AddEnd();
  reports.Refresh(absl::ZeroDuration());
  AllowWrites();
  reports.Refresh(absl::ZeroDuration());
  EXPECT_EQ(Rows(), "s1 s2 ");
  EXPECT_THAT(Read("summary.json"), HasSubstr("succeeded"));
}

TEST_F(ReportsTest, ASummaryThatCouldNotBeWrittenIsWrittenLater) {
  AddStep(1);
  ASSERT_TRUE(CreateDirectories(folder + "/summary.json.tmp").ok());  // in the way of the temporary file
  AddEnd();
  ASSERT_FALSE(FileExists(folder + "/summary.json"));
  reports.Refresh(absl::ZeroDuration());
  ASSERT_FALSE(FileExists(folder + "/summary.json"));
  ASSERT_TRUE(RemoveTree(folder + "/summary.json.tmp").ok());
  reports.Refresh(absl::ZeroDuration());
  EXPECT_THAT(Read("summary.json"), HasSubstr("succeeded"));
}

// The process goes down before the summary of a run that has ended could be written.
TEST_F(ReportsTest, AnEndThatWasNotWrittenIsWrittenInTheNextLife) {
  AddStep(1);
  RefuseWrites();
  AddEnd();
  AllowWrites();
  const auto in_a_next_life = [this] {
    Reports next(JournalScan(), [](const std::string&) { return 7.0; });
    next.TakeUp("demo", folder, v1::RUN_STATE_SUCCEEDED, static_cast<int64_t>(journal.size()));
    next.Refresh(absl::ZeroDuration());
  };
  EXPECT_FALSE(FileExists(JoinPath(folder, "summary.json")));
  in_a_next_life();
  EXPECT_THAT(Read("summary.json"), HasSubstr("\"state\": \"succeeded\""));
  EXPECT_THAT(Read("summary.json"), HasSubstr("\"run_seconds\": 7"));
  // One that says how the run ended is left alone, as is a folder that was removed.
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "summary.json"), "{\"state\": \"succeeded\"}").ok());
  in_a_next_life();
  EXPECT_EQ(Read("summary.json"), "{\"state\": \"succeeded\"}");
  ASSERT_TRUE(RemoveTree(folder).ok());
  in_a_next_life();
  EXPECT_FALSE(FileExists(folder));
}

}  // namespace
}  // namespace hone::coordinator
