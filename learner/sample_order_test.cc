#include "learner/sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace hone::learner {
namespace {

std::vector<std::pair<int32_t, int64_t>> Take(SampleOrder* order, int count) {
  std::vector<std::pair<int32_t, int64_t>> items;
  for (int i = 0; i < count; ++i) {
    const SampleOrder::Item item = order->Next();
    items.emplace_back(item.source, item.row);
  }
  return items;
}

TEST(SampleOrder, EveryEpochHoldsEveryRowOnceInAnotherOrder) {
  SampleOrder order(1, "base", {{.rows = 20}}, true);
  const auto first = Take(&order, 20), second = Take(&order, 20);
  EXPECT_NE(first, second);
  for (const auto& epoch : {first, second}) EXPECT_EQ(std::set(epoch.begin(), epoch.end()).size(), 20u);
}

TEST(SampleOrder, SeedAndStageChangeTheOrder) {
  SampleOrder a(1, "base", {{.rows = 20}}, true), same(1, "base", {{.rows = 20}}, true);
  SampleOrder seed(2, "base", {{.rows = 20}}, true), stage(1, "sft", {{.rows = 20}}, true);
  const auto items = Take(&a, 20);
  EXPECT_EQ(items, Take(&same, 20));
  EXPECT_NE(items, Take(&seed, 20));
  EXPECT_NE(items, Take(&stage, 20));
}

TEST(SampleOrder, SkippingIsTaking) {
  const std::vector<SampleOrder::Source> sources = {{.rows = 7, .weight = 2}, {.rows = 3, .weight = 0.7}};
  for (const int skip : {0, 1, 6, 25, 101}) {
    SampleOrder taken(3, "s", sources, true), skipped(3, "s", sources, true);
    Take(&taken, skip);
    skipped.Skip(skip);
    EXPECT_EQ(Take(&taken, 30), Take(&skipped, 30)) << skip;
  }
}

TEST(SampleOrder, MixtureIsExactAtEveryMoment) {
  SampleOrder order(1, "s", {{.rows = 5, .weight = 3}, {.rows = 5, .weight = 1}, {.rows = 0, .weight = 0}}, true);
  std::map<int32_t, int> counts;
  for (int i = 1; i <= 400; ++i) {
    ++counts[order.Next().source];
    EXPECT_LE(std::abs(counts[0] - 0.75 * i), 1.0) << i;
  }
  EXPECT_EQ(counts[1], 100);
  EXPECT_EQ(counts.count(2), 0u);
}

TEST(SampleOrder, FileOrderCycles) {
  SampleOrder order(1, "s", {{.rows = 3}}, false);
  const std::vector<std::pair<int32_t, int64_t>> expected = {{0, 0}, {0, 1}, {0, 2}, {0, 0}};
  EXPECT_EQ(Take(&order, 4), expected);
}

}  // namespace
}  // namespace hone::learner
