#include "kernels/testing.h"

#include <limits>

namespace hone::kernels::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> V(std::initializer_list<float> x) { return x; }

TEST(Comparator, SeesMissesBetweenNegativeValues) {
  EXPECT_FALSE(Near(V({-1.0f}), V({-2.0f}), 0.0, 0.1));
  EXPECT_TRUE(Near(V({-2.1f}), V({-2.0f}), 0.0, 0.1));
}

TEST(Comparator, ZeroNeedsTheAbsolutePart) {
  EXPECT_FALSE(Near(V({1e-9f}), V({0.0f}), 0.0, 0.5));
  EXPECT_TRUE(Near(V({1e-9f}), V({0.0f}), 1e-8, 0.0));
  EXPECT_TRUE(Near(V({-0.0f}), V({0.0f}), 0.0, 0.0));
  EXPECT_FALSE(SameBits(V({-0.0f}), V({0.0f})));
}

TEST(Comparator, NanMeetsNanOnly) {
  EXPECT_TRUE(Near(V({kNan}), V({kNan}), 0.0, 0.0));
  EXPECT_FALSE(Near(V({kNan}), V({1.0f}), 1e30, 1e30));
  EXPECT_FALSE(Near(V({1.0f}), V({kNan}), 1e30, 1e30));
  EXPECT_TRUE(SameBits(V({kNan}), V({kNan})));
}

TEST(Comparator, InfinityMeetsItselfOnly) {
  EXPECT_TRUE(Near(V({kInf, -kInf}), V({kInf, -kInf}), 0.0, 0.0));
  EXPECT_FALSE(Near(V({kInf}), V({-kInf}), 1e30, 1.0));
  EXPECT_FALSE(Near(V({3e38f}), V({kInf}), 1e30, 1.0));
}

TEST(Comparator, NamesTheWorstElement) {
  const auto result = Near(V({1, 2, 3.5, 4, 5, 8}), V({1, 2, 3, 4, 5, 6}), 0.1, 0.0, 3);
  EXPECT_FALSE(result);
  EXPECT_NE(
      std::string(result.message()).find("2 of 6 elements differ, worst at 5 (row 1, column 2): actual 8, expected 6"),
      std::string::npos)
      << result.message();
}

TEST(Comparator, RefusesDifferentSizes) {
  EXPECT_FALSE(Near(V({1}), V({1, 2}), 1.0, 1.0));
  EXPECT_FALSE(SameBits(V({1}), V({1, 2})));
}

}  // namespace
}  // namespace hone::kernels::testing
