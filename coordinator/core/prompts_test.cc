#include "coordinator/core/prompts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/sha256.h"

namespace hone::coordinator {
namespace {

std::shared_ptr<const PromptSet> MakeSet(const std::vector<std::pair<int, double>>& sources) {
  auto set = std::make_shared<PromptSet>();
  for (const auto& [rows, weight] : sources) {
    PromptSource source;
    source.weight = weight;
    source.rows.resize(static_cast<size_t>(rows));
    set->sources.push_back(source);
  }
  return set;
}

TEST(PromptCursorTest, MixesByWeightWithoutDrift) {
  PromptCursor cursor(MakeSet({{5, 3}, {7, 1}, {2, 0}}), 1, "zero");
  std::map<int32_t, int> drawn;
  int n = 0;
  for (const PromptPick& pick : cursor.Range(0, 4000)) {
    ++drawn[pick.source];
    ++n;
    // At no time is a source further than one draw from its share.
    EXPECT_LE(std::abs(drawn[0] - 0.75 * n), 1.0);
  }
  EXPECT_EQ(drawn[0], 3000);
  EXPECT_EQ(drawn[1], 1000);
  EXPECT_EQ(drawn[2], 0);
}

TEST(PromptCursorTest, EachEpochSeesEveryRowOnceInItsOwnOrder) {
  PromptCursor cursor(MakeSet({{50, 1}}), 1, "zero");
  std::vector<std::vector<int32_t>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int32_t> order;
    std::set<int32_t> seen;
    for (const PromptPick& pick : cursor.Range(epoch * 50, 50)) {
      EXPECT_EQ(pick.visit, epoch);
      order.push_back(pick.row);
      seen.insert(pick.row);
    }
    EXPECT_EQ(seen.size(), 50u);
    for (const auto& other : orders) EXPECT_NE(order, other);
    orders.push_back(order);
  }
}

TEST(PromptCursorTest, AnyRangeIsTheSameWheneverItIsAsked) {
  const auto set = MakeSet({{5, 2}, {11, 1.5}});
  PromptCursor whole(set, 9, "zero");
  const std::vector<PromptPick> all = whole.Range(0, 200);
  PromptCursor jumping(set, 9, "zero");
  for (const int first : {120, 3, 199, 0, 64}) {
    const int count = std::min(17, 200 - first);
    EXPECT_EQ(jumping.Range(first, count), std::vector<PromptPick>(all.begin() + first, all.begin() + first + count));
  }
  EXPECT_NE(PromptCursor(set, 10, "zero").Range(0, 200), all);
  EXPECT_NE(PromptCursor(set, 9, "one").Range(0, 200), all);
}

TEST(ShuffledOrderTest, AllOrdersOfThreeAreAboutEquallyFrequent) {
  std::map<std::vector<int32_t>, int> counts;
  for (int64_t epoch = 0; epoch < 6000; ++epoch) ++counts[ShuffledOrder(3, 1, "s", 0, epoch)];
  EXPECT_EQ(counts.size(), 6u);
  // Standard deviation of each count: sqrt(6000 * 1/6 * 5/6) = 29; 5 of them.
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 145);
  EXPECT_EQ(ShuffledOrder(1, 1, "s", 0, 0), std::vector<int32_t>{0});
}

TEST(GroupIdTest, IsTheFirstEightBytesOfTheHashLittleEndian) {
  const std::string hex = Sha256Hex("run\nstage\nprompt\n3\n0");
  uint64_t expected = 0;
  for (int byte = 7; byte >= 0; --byte) {
    expected = expected << 8 | std::stoul(hex.substr(size_t{2} * static_cast<size_t>(byte), 2), nullptr, 16);
  }
  EXPECT_EQ(GroupId("run", "stage", "prompt", 3, 0), expected);
  EXPECT_NE(GroupId("run", "stage", "prompt", 3, 1), expected);
  EXPECT_NE(GroupId("run", "stage/eval", "prompt", 3, 0), expected);
  EXPECT_NE(SampleStream("stage", "prompt", 3, 0), expected);
  EXPECT_NE(SampleStream("stage", "prompt", 3, 0), SampleStream("stage", "prompt", 3, 1));
  EXPECT_NE(SampleStream("stage", "prompt", 3, 0), SampleStream("stage/eval", "prompt", 3, 0));
}

TEST(EvaluationOrderTest, TakesSourcesInOrderUpToTheLimit) {
  const auto set = MakeSet({{2, 1}, {3, 5}});
  EXPECT_EQ(EvaluationOrder(*set, 0, 4).size(), 5u);
  const std::vector<PromptPick> picks = EvaluationOrder(*set, 3, 4);
  EXPECT_EQ(picks, (std::vector<PromptPick>{{0, 0, 4}, {0, 1, 4}, {1, 0, 4}}));
}

}  // namespace
}  // namespace hone::coordinator
