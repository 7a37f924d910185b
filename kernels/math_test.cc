#include "kernels/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/testing.h"

namespace hone::kernels {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kUlp = 0x1p-52;

// libm is the yardstick here and only here: it is accurate to below an ulp.
TEST(Math, ExpIsAccurateAndHandlesTheEnds) {
  for (double x = -740; x < 709; x += 0.0371) {
    ASSERT_NEAR(Exp(x), std::exp(x), 2 * kUlp * std::exp(x) + 5e-324) << x;
  }
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(-kInf), 0.0);
  EXPECT_EQ(Exp(kInf), kInf);
  EXPECT_EQ(Exp(-746), 0.0);
  EXPECT_EQ(Exp(710), kInf);
  EXPECT_TRUE(std::isnan(Exp(std::nan(""))));
}

TEST(Math, LogIsAccurateAndHandlesTheEnds) {
  for (double x = 1e-310; x < 1e308; x *= 1.0173) {
    ASSERT_NEAR(Log(x), std::log(x), 2 * kUlp * std::fabs(std::log(x))) << x;
  }
  for (double x = 0.5; x < 2; x += 0.00137) ASSERT_NEAR(Log(x), std::log(x), 2 * kUlp * std::fabs(std::log(x))) << x;
  EXPECT_EQ(Log(1.0), 0.0);
  EXPECT_EQ(Log(0.0), -kInf);
  EXPECT_EQ(Log(kInf), kInf);
  EXPECT_TRUE(std::isnan(Log(-1.0)));
  EXPECT_TRUE(std::isnan(Log(std::nan(""))));
}

TEST(Math, PowOfRotaryBases) {
  for (double base : {1e4, 1e5, 1e6}) {
    for (int i = 0; i < 64; ++i) {
      const double y = -i / 64.0;
      ASSERT_NEAR(Pow(base, y), std::pow(base, y), 2e-15 * std::pow(base, y));
    }
  }
}

TEST(Math, SinAndCosAreAccurateAtRotaryAngles) {
  for (double x = -1e6; x < 1e6; x += 97.31) {
    ASSERT_NEAR(Sin(x), std::sin(x), 3e-16) << x;
    ASSERT_NEAR(Cos(x), std::cos(x), 3e-16) << x;
  }
  for (double x = -7; x < 7; x += 0.0013) {
    ASSERT_NEAR(Sin(x), std::sin(x), 3e-16) << x;
    ASSERT_NEAR(Cos(x), std::cos(x), 3e-16) << x;
  }
  EXPECT_EQ(Sin(0.0), 0.0);
  EXPECT_EQ(Cos(0.0), 1.0);
  EXPECT_TRUE(std::isnan(Sin(kInf)));
  EXPECT_TRUE(std::isnan(Cos(std::nan(""))));
}

using VectorExp = testing::OnEveryPath;

TEST_P(VectorExp, MatchesDoubleEverywhere) {
  std::vector<float> x;
  for (double v = -87.3; v < 88.3; v += 0.00117) x.push_back(static_cast<float>(v));
  std::vector<float> y(x.size()), expected(x.size());
  cpu::TableOf(GetParam()).exponentials(x.data(), static_cast<int64_t>(x.size()), 0.0f, 1.0f, y.data());
  for (size_t i = 0; i < x.size(); ++i) expected[i] = static_cast<float>(Exp(x[i]));
  EXPECT_TRUE(testing::Near(y, expected, 0.0, 3 * testing::kEpsilon));
}

TEST_P(VectorExp, Ends) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {-inf, -1e30f, -87.34f, 89.0f, 1e30f, inf, 0.0f, -0.0f};
  const std::vector<float> expected = {0, 0, 0, inf, inf, inf, 1, 1};
  std::vector<float> y(x.size());
  cpu::TableOf(GetParam()).exponentials(x.data(), static_cast<int64_t>(x.size()), 0.0f, 1.0f, y.data());
  EXPECT_TRUE(testing::SameBits(y, expected));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  float of_nan = 0;
  cpu::TableOf(GetParam()).exponentials(&nan, 1, 0.0f, 1.0f, &of_nan);
  EXPECT_TRUE(std::isnan(of_nan));
}

HONE_ON_EVERY_PATH(VectorExp);

}  // namespace
}  // namespace hone::kernels
