#include "coordinator/service/projection_batch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"

namespace hone::coordinator {
namespace {

class ProjectionBatchTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = "projection_batch_test." + std::to_string(getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    Journal::Options options;
    options.directory = directory_;
    auto journal = Journal::Open(options, [](std::string_view, Journal::Span) { return absl::OkStatus(); });
    ASSERT_TRUE(journal.ok()) << journal.status();
    journal_ = *std::move(journal);
  }
  void TearDown() override {
    journal_.reset();
    ASSERT_TRUE(RemoveTree(directory_).ok());
  }
  void Append(size_t error_bytes) {
    v1::JournalRecord record;
    record.mutable_run_state_changed()->set_error(std::string(error_bytes, 'x'));
    journal_->Append(record.SerializeAsString());
  }
  // Sizes of the batches that carry the whole journal.
  std::vector<size_t> BatchSizes(const BatchLimits& limits) {
    EXPECT_TRUE(journal_->WaitDurable(journal_->end()).ok());
    std::vector<size_t> sizes;
    for (int64_t position = 0; position < journal_->end();) {
      const auto batch = ReadBatch(*journal_, position, journal_->end(), limits);
      if (!batch.ok() || batch->empty()) {
        ADD_FAILURE() << batch.status();
        break;
      }
      EXPECT_EQ(batch->front().span.begin, position);
      position = batch->back().span.end;
      sizes.push_back(batch->size());
    }
    return sizes;
  }

  std::string directory_;
  std::unique_ptr<Journal> journal_;
};

TEST_F(ProjectionBatchTest, EndsAtEitherLimit) {
  for (const size_t bytes : {1, 1, 1, 1, 5000, 5000, 1, 20000, 20000, 1}) Append(bytes);
  EXPECT_EQ(BatchSizes({.records = 4, .bytes = 8000}), (std::vector<size_t>{4, 2, 2, 1, 1}));
  EXPECT_EQ(BatchSizes({.records = 4, .bytes = 1}), std::vector<size_t>(10, 1)) << "never none";
  EXPECT_EQ(BatchSizes({}), std::vector<size_t>{10});
}

TEST_F(ProjectionBatchTest, LargeRecordsMakeSmallBatches) {
  for (int i = 0; i < 4; ++i) Append(40u << 20);
  EXPECT_EQ(BatchSizes({}), (std::vector<size_t>{2, 2}));
}

TEST_F(ProjectionBatchTest, WhatIsNoRecordIsDataLoss) {
  journal_->Append("no record");
  ASSERT_TRUE(journal_->WaitDurable(journal_->end()).ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadBatch(*journal_, 0, journal_->end()).status()));
}

}  // namespace
}  // namespace hone::coordinator
