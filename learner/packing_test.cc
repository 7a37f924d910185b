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
  const std::vector<MicroBatch> batches = PackMicroBatches(sequences, std::vector<int32_t>{0, 1}, {100});
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
  const std::vector<MicroBatch> batches = PackMicroBatches(sequences, std::vector<int32_t>{3, 0, 1, 2}, {8});
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].members, (std::vector<int32_t>{3, 0}));  // 2 + 4 tokens; 4 more would be 10
  EXPECT_EQ(batches[1].members, (std::vector<int32_t>{1}));
  EXPECT_EQ(batches[2].members, (std::vector<int32_t>{2}));  // longer than the budget: alone
}

TEST(Packing, SequencesWithoutTargetsAreLeftOut) {
  const std::vector<TrainingSequence> sequences = {Sequence(5, {}), Sequence(1, {}), Sequence(0, {})};
  EXPECT_TRUE(PackMicroBatches(sequences, std::vector<int32_t>{0, 1, 2}, {8}).empty());
}

// A group of samples with a prompt of `prompt` tokens.
std::vector<TrainingSequence> Group(int32_t group, int prompt, const std::vector<int>& completions) {
  std::vector<TrainingSequence> sequences;
  for (const int completion : completions) {
    TrainingSequence sequence;
    sequence.group = group;
    for (int i = 0; i < prompt; ++i) sequence.tokens.push_back(1000 * (group + 1) + i);
    for (int i = 0; i < completion; ++i) {
      sequence.targets.push_back(static_cast<int32_t>(sequence.tokens.size()));
      sequence.tokens.push_back(static_cast<int32_t>(sequences.size()) * 10 + i);
    }
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

TEST(Packing, AGroupSharesTheRowsOfItsPromptButTheLast) {
  const std::vector<TrainingSequence> sequences = Group(0, 20, {2, 3});
  const std::vector<MicroBatch> batches = PackMicroBatches(sequences, std::vector<int32_t>{0, 1}, {100});
  ASSERT_EQ(batches.size(), 1u);
  const model::PackedSequences& packed = batches[0].packed;
  // The prompt's last token predicts each sample's first: it is in each.
  EXPECT_EQ(packed.starts, (std::vector<int64_t>{0, 19, 21, 24}));
  EXPECT_EQ(packed.prefixes, (std::vector<int32_t>{-1, 0, 0}));
  EXPECT_EQ((std::vector<int32_t>(packed.tokens.begin() + 18, packed.tokens.end())),
            (std::vector<int32_t>{1018, 1019, 0, 1019, 10, 11}));
  EXPECT_EQ((std::vector<int32_t>(packed.targets.begin() + 18, packed.targets.end())),
            (std::vector<int32_t>{-1, 0, 1, 10, 11, 12}));
  EXPECT_EQ(batches[0].target_count, 5);
  EXPECT_EQ(batches[0].fed_tokens, 21 + 22);
}

TEST(Packing, OnlyNeighboursOfOneGroupWithALongBeginningShare) {
  const auto prefixes = [](const std::vector<TrainingSequence>& sequences, const std::vector<int32_t>& order) {
    return PackMicroBatches(sequences, order, {1000}).front().packed.prefixes;
  };
  EXPECT_EQ(prefixes(Group(0, 17, {1, 1}), {0, 1}), (std::vector<int32_t>{-1, 0, 0}));
  EXPECT_EQ(prefixes(Group(0, 16, {1, 1}), {0, 1}), (std::vector<int32_t>{-1, -1})) << "15 rows are too few";
  EXPECT_EQ(prefixes(Group(0, 30, {1}), {0}), (std::vector<int32_t>{-1})) << "nobody to share with";
  EXPECT_EQ(prefixes(Group(-1, 30, {1, 1}), {0, 1}), (std::vector<int32_t>{-1, -1})) << "no groups";
  // Two groups, one after another; and a sample between them that begins otherwise.
  std::vector<TrainingSequence> mixed = Group(0, 30, {1, 1, 1});
  const std::vector<TrainingSequence> second = Group(1, 30, {2, 2});
  mixed.insert(mixed.end(), second.begin(), second.end());
  EXPECT_EQ(prefixes(mixed, {0, 1, 2, 3, 4}), (std::vector<int32_t>{-1, 0, 0, 0, -1, 4, 4}));
  mixed[2].tokens[3] = 7;
  EXPECT_EQ(prefixes(mixed, {0, 1, 2, 3, 4}), (std::vector<int32_t>{-1, 0, 0, -1, -1, 4, 4}));
  // A target inside of the prompt (an earlier turn) bounds what can be shared.
  mixed[1].targets.insert(mixed[1].targets.begin(), 21);
  EXPECT_EQ(PackMicroBatches(mixed, std::vector<int32_t>{0, 1}, {1000}).front().packed.starts,
            (std::vector<int64_t>{0, 20, 30, 40}));
}

// One system prompt, different questions of which two neighbours happen to begin alike.
TEST(Packing, ThePrefixIsTheOneThatSavesMost) {
  std::vector<TrainingSequence> sequences = Group(0, 30, {1, 1, 1, 1});
  for (size_t i = 0; i < sequences.size(); ++i) {
    for (size_t at = i < 2 ? 24 : 20; at < 30; ++at) sequences[i].tokens[at] = static_cast<int32_t>(i);
  }
  const std::vector<MicroBatch> all = PackMicroBatches(sequences, std::vector<int32_t>{0, 1, 2, 3}, {1000});
  EXPECT_EQ(all.front().packed.starts, (std::vector<int64_t>{0, 20, 30, 40, 50, 60})) << "3 times 20 over 1 times 24";
  const std::vector<MicroBatch> two = PackMicroBatches(sequences, std::vector<int32_t>{0, 1}, {1000});
  EXPECT_EQ(two.front().packed.starts, (std::vector<int64_t>{0, 24, 30, 36}));
}

TEST(Packing, TheBudgetCountsSharedRowsOnce) {
  const std::vector<TrainingSequence> sequences = Group(0, 101, {10, 10, 10, 10});
  // 100 shared rows, 10 of each sample.
  const std::vector<MicroBatch> batches = PackMicroBatches(sequences, std::vector<int32_t>{0, 1, 2, 3}, {125});
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].packed.starts, (std::vector<int64_t>{0, 100, 110, 120}));
  EXPECT_EQ(batches[1].packed.starts, (std::vector<int64_t>{0, 100, 110, 120}));
  EXPECT_EQ(batches[1].members, (std::vector<int32_t>{2, 3}));
}

// Two groups of which the second shares less, and a sequence of no group: three units and one more where the prompt
// changes. Whatever the budget, units are whole and the same.
TEST(Packing, WholeUnitsAreTheSameForEveryBudget) {
  std::vector<TrainingSequence> sequences = Group(0, 41, {10, 5, 3}), second = Group(1, 30, {4, 4});
  sequences.insert(sequences.end(), second.begin(), second.end());
  sequences.push_back(Sequence(12, {4}));
  const std::vector<int32_t> order = {0, 1, 2, 3, 4, 5};
  const auto packed = [&](int64_t budget) {
    return PackMicroBatches(sequences, order, {.token_budget = budget, .whole_units = true});
  };
  const std::vector<MicroBatch> one = packed(1000);
  ASSERT_EQ(one.size(), 1u);
  // 40 shared rows and 10 + 5 + 3; 29 and 4 + 4; 11.
  EXPECT_EQ(one[0].packed.sum_starts, (std::vector<int64_t>{0, 58, 95, 106}));
  EXPECT_EQ(one[0].packed.starts, (std::vector<int64_t>{0, 40, 50, 55, 58, 87, 91, 95, 106}));
  EXPECT_EQ(one[0].packed.prefixes, (std::vector<int32_t>{-1, 0, 0, 0, -1, 4, 4, -1}));
  EXPECT_EQ(one[0].members, order);
  EXPECT_EQ(one[0].packed.tokens.size(), one[0].packed.targets.size());
  const std::vector<MicroBatch> two = packed(60);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].packed.sum_starts, (std::vector<int64_t>{0, 58}));
  EXPECT_EQ(two[1].packed.sum_starts, (std::vector<int64_t>{0, 37, 48}));
  EXPECT_EQ(two[1].members, (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(two[1].packed.prefixes, (std::vector<int32_t>{-1, 0, 0, -1}));
  const std::vector<MicroBatch> alone = packed(1);  // each is larger than that
  ASSERT_EQ(alone.size(), 3u);
  EXPECT_EQ(alone[0].packed.tokens.size(), 58u);
  EXPECT_EQ(alone[0].fed_tokens, 50 + 45 + 43);
  EXPECT_EQ(alone[0].target_count, 18);
}

TEST(Packing, RowsAreSharedOnlyWhereTheRuleSaysSo) {
  const std::vector<TrainingSequence> sequences = Group(0, 41, {10, 5});
  const std::vector<int32_t> order = {0, 1};
  for (const bool whole_units : {false, true}) {
    const std::vector<MicroBatch> batches =
        PackMicroBatches(sequences, order, {.token_budget = 1000, .whole_units = whole_units, .share_rows = false});
    ASSERT_EQ(batches.size(), 1u);
    EXPECT_EQ(batches[0].packed.starts, (std::vector<int64_t>{0, 50, 95}));
    EXPECT_EQ(batches[0].packed.sum_starts, whole_units ? batches[0].packed.starts : std::vector<int64_t>());
  }
}

TEST(Packing, BudgetFollowsTheModel) {
  EXPECT_EQ(MicroBatchTokenBudget(1 << 20), 1024);
  EXPECT_EQ(MicroBatchTokenBudget(1), 16384);
  EXPECT_EQ(MicroBatchTokenBudget(size_t{1} << 40), 256);
}

}  // namespace
}  // namespace hone::learner
