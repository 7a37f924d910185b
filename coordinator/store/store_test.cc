#include "coordinator/store/store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"

namespace hone::coordinator {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = "store_test." + std::to_string(getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    ASSERT_TRUE(CreateDirectories(directory_).ok());
    path_ = JoinPath(directory_, "state.sqlite");
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(directory_).ok()); }

  static std::vector<StoredRecord> Records() {
    std::vector<StoredRecord> records(6);
    records[0].record.mutable_run_created()->set_run("demo");
    for (int i = 1; i <= 3; ++i) {
      auto& group = *records[static_cast<size_t>(i)].record.mutable_group_recorded();
      group.set_run("demo");
      group.set_stage(i == 3 ? "late" : "zero");
      group.set_step(i);
      group.set_purpose(i == 2 ? v1::GROUP_PURPOSE_EVALUATE : v1::GROUP_PURPOSE_TRAIN);
      group.mutable_group()->set_group_id(~uint64_t{0});
      group.mutable_group()->add_trajectories();
    }
    auto& step = *records[4].record.mutable_step_recorded();
    step.set_run("demo");
    step.set_stage("zero");
    step.set_step(1);
    (*step.mutable_metrics())["loss/total"] = 0.1;
    auto& evaluation = *records[5].record.mutable_evaluation_recorded();
    evaluation.set_run("demo");
    evaluation.set_stage("late");
    (*evaluation.mutable_metrics())["eval/pass_at_1"] = 0.9;
    for (size_t i = 0; i < records.size(); ++i) {
      records[i].span = {static_cast<int64_t>(i) * 10, static_cast<int64_t>(i) * 10 + 10};
    }
    return records;
  }

  static void ExpectAll(Store& store) {
    EXPECT_EQ(*store.AppliedPosition(), 60);
    GroupQuery query;
    query.run = "demo";
    EXPECT_EQ(*store.ListGroups(query), (std::vector<int64_t>{30, 20, 10}));
    query.before = 30;
    query.limit = 1;
    EXPECT_EQ(*store.ListGroups(query), (std::vector<int64_t>{20}));
    query = {};
    query.run = "demo";
    query.stage = "zero";
    query.purpose = v1::GROUP_PURPOSE_TRAIN;
    EXPECT_EQ(*store.ListGroups(query), (std::vector<int64_t>{10}));
    query.step = 2;
    EXPECT_TRUE(store.ListGroups(query)->empty());
    const auto metrics = store.ListMetrics("demo", std::nullopt, -1, 10);
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    ASSERT_EQ(metrics->size(), 2u);
    EXPECT_EQ((*metrics)[0].metrics.values().at("loss/total"), 0.1);
    EXPECT_EQ(store.ListMetrics("demo", "late", -1, 10)->size(), 1u);
    EXPECT_EQ(store.ListMetrics("demo", std::nullopt, (*metrics)[0].position, 10)->size(), 1u);
    EXPECT_TRUE(store.ListMetrics("other", std::nullopt, -1, 10)->empty());
  }

  std::string directory_;
  std::string path_;
};

TEST_F(StoreTest, AnswersFromWhatWasAppliedAlsoAfterReopening) {
  {
    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->ApplyRecords(Records()).ok());
    ExpectAll(**store);
  }
  auto store = OpenSqliteStore(path_);
  ASSERT_TRUE(store.ok()) << store.status();
  ExpectAll(**store);
}

TEST_F(StoreTest, RefusesRecordsOutOfOrderAndKeepsNothingOfThem) {
  auto store = OpenSqliteStore(path_);
  ASSERT_TRUE(store.ok());
  std::vector<StoredRecord> records = Records();
  records.erase(records.begin());
  EXPECT_EQ((*store)->ApplyRecords(records).code(), absl::StatusCode::kFailedPrecondition);
  // A record that cannot be written (its position is taken) takes the whole batch back.
  records = Records();
  records[2].span.begin = records[1].span.begin;
  EXPECT_FALSE((*store)->ApplyRecords(records).ok());
  EXPECT_EQ(*(*store)->AppliedPosition(), 0);
  ASSERT_TRUE((*store)->ApplyRecords(Records()).ok());
  ExpectAll(**store);
}

TEST_F(StoreTest, DamagedFilesAreMovedAsideAndBegunAnew) {
  {
    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->ApplyRecords(Records()).ok());
  }
  std::string bytes = *ReadFile(path_);
  for (size_t i = 4096; i < bytes.size() && i < 12000; ++i) bytes[i] = '#';
  for (const std::string& damaged :
       {bytes, std::string("not a database, but long enough to be looked at"), bytes.substr(0, 5000)}) {
    ASSERT_TRUE(WriteFileAtomic(path_, damaged).ok());
    ASSERT_TRUE(RemoveTree(path_ + "-wal").ok());
    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ(*(*store)->AppliedPosition(), 0);
    EXPECT_EQ(*ReadFile(path_ + ".damaged"), damaged);
    ASSERT_TRUE((*store)->ApplyRecords(Records()).ok());
    ExpectAll(**store);
  }
}

}  // namespace
}  // namespace hone::coordinator
