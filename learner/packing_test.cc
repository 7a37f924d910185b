#include "learner/packing.h"

#include <gtest/gtest.h>

namespace hone::learner {
namespace {

TrainingSequence Sequence(int length, std::vector<int32_t> targets) {
  TrainingSequence sequence;
  for (int i = 0; i < length; ++i) sequence.tokens.push_back(100 * length + i);
  sequence.targets = std::move(targets);
  return sequence;
}

TEST(Packing, RowsPredictTheirTargetsAndTheLastTokenIsNotFed) {
  const std::vector<TrainingSequence> sequences = {Sequence(4, {2, 3}), Sequence(3, {1})};
  const std::vector<MicroBatch> batches = PackMicroBatches(sequences, std::vector<int32_t>{0, 1}, 100);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].packed.tokens, (std::vector<int32_t>{400, 401, 402, 300, 301}));
  EXPECT_EQ(batches[0].packed.starts, (std::vector<int64_t>{0, 3, 5}));
  EXPECT_EQ(batches[0].packed.targets, (std::vector<int32_t>{-1, 402, 403, 301, -1}));
  EXPECT_EQ(batches[0].members, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(batches[0].target_count, 3);
}

TEST(Packing, OpensANewBatchWhereTheBudgetWouldBeExceeded) {
  const std::vector<TrainingSequence> sequences = {Sequence(5, {4}), Sequence(5, {4}), Sequence(20, {4}),
                                                   Sequence(3, {2})};
  const std::vector<MicroBatch> batches = PackMicroBatches(sequences, std::vector<int32_t>{3, 0, 1, 2}, 8);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].members, (std::vector<int32_t>{3, 0}));  // 2 + 4 tokens; 4 more would be 10
  EXPECT_EQ(batches[1].members, (std::vector<int32_t>{1}));
  EXPECT_EQ(batches[2].members, (std::vector<int32_t>{2}));  // longer than the budget: alone
}

TEST(Packing, SequencesWithoutTargetsAreLeftOut) {
  const std::vector<TrainingSequence> sequences = {Sequence(5, {}), Sequence(1, {}), Sequence(0, {})};
  EXPECT_TRUE(PackMicroBatches(sequences, std::vector<int32_t>{0, 1, 2}, 8).empty());
}

TEST(Packing, BudgetFollowsTheModel) {
  EXPECT_EQ(MicroBatchTokenBudget(1 << 20), 2048);
  EXPECT_EQ(MicroBatchTokenBudget(1), 16384);
  EXPECT_EQ(MicroBatchTokenBudget(size_t{1} << 40), 256);
}

}  // namespace
}  // namespace hone::learner
