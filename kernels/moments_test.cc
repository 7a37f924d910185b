// AdamW on stored moments: what is stored, and that the step is AdamW's own.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/testing.h"

namespace hone::kernels {
namespace {

using testing::Normal;
using testing::SameBits;

// Both moments of one parameter.
struct Stored {
  Stored(MomentFormat format, int64_t n)
      : format(format),
        n(n),
        m_values(static_cast<size_t>(n) * 4),
        v_values(m_values),
        m_scales(Blocks(n)),
        v_scales(m_scales) {}
  static size_t Blocks(int64_t n) { return static_cast<size_t>((n + kMomentBlock - 1) / kMomentBlock); }
  MomentView m() { return {m_values.data(), m_scales.data()}; }
  MomentView v() { return {v_values.data(), v_scales.data()}; }
  std::vector<float> Read(Moment moment) {
    std::vector<float> out(static_cast<size_t>(n));
    ReadMoments(*KernelContext::Create(1), format, moment, moment == Moment::kFirst ? m() : v(), n, out.data());
    return out;
  }
  MomentFormat format;
  int64_t n;
  std::vector<std::byte> m_values, v_values;
  std::vector<float> m_scales, v_scales;
};

// Moments after a first step with beta1 = beta2 = 0 are the gradient and its square, rounded.
const AdamWParams kTakesTheGradient{0.0f, 0.0f, 0.0f, 1e-8f, 0.0f, 1.0, 1.0, 1.0f};

using MomentsTest = testing::OnEveryPath;

TEST_P(MomentsTest, TheStepIsThatOfAdamWOnWhatIsRead) {
  const int64_t n = 20003;
  const auto ctx = Context(3);
  for (const MomentFormat format : {MomentFormat::kF32, MomentFormat::kBf16, MomentFormat::kF8}) {
    Stored stored(format, n);
    auto w = Normal(1, n);
    for (int step = 1; step <= 3; ++step) {
      const auto g = Normal(10 + static_cast<uint64_t>(step), n);
      const AdamWParams params{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1 - std::pow(0.9, step), 1 - std::pow(0.95, step),
                               0.5f};
      auto expected_w = w, m = stored.Read(Moment::kFirst), v = stored.Read(Moment::kSecond);
      AdamW(*ctx, params, n, g.data(), expected_w.data(), m.data(), v.data());
      AdamWStored(*ctx, params, n, g.data(), w.data(), format, stored.m(), stored.v(), 7);
      ASSERT_TRUE(SameBits(w, expected_w));
      // What was stored is what AdamW left, within a last bit of the format.
      const double bit = format == MomentFormat::kF32 ? 0 : format == MomentFormat::kBf16 ? 0x1p-7 : 0x1p-3;
      const auto stored_m = stored.Read(Moment::kFirst), stored_v = stored.Read(Moment::kSecond);
      const double least = format == MomentFormat::kF8 ? 0x1p-13 : 0;  // times the block's largest, at most 2 here
      for (size_t i = 0; i < m.size(); ++i) {
        ASSERT_LE(std::fabs(stored_m[i] - m[i]), bit * std::fabs(m[i]) + least) << i;
        ASSERT_LE(std::fabs(stored_v[i] - v[i]), 2 * bit * v[i] + least) << i;
      }
    }
  }
}

TEST_P(MomentsTest, BitsDoNotDependOnThreads) {
  const int64_t n = 50000;
  const auto g = Normal(3, n);
  for (const MomentFormat format : {MomentFormat::kBf16, MomentFormat::kF8}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      Stored stored(format, n);
      std::vector<float> w(static_cast<size_t>(n));
      AdamWStored(*Context(threads), kTakesTheGradient, n, g.data(), w.data(), format, stored.m(), stored.v(), 7);
      auto moments = stored.Read(Moment::kFirst);
      const auto v = stored.Read(Moment::kSecond);
      moments.insert(moments.end(), v.begin(), v.end());
      if (threads == 1) first = moments;
      EXPECT_TRUE(SameBits(moments, first)) << threads << " threads";
    }
  }
}

HONE_ON_EVERY_PATH(MomentsTest);

// Rounded under many keys, the mean is the value: small changes are kept on average, also those below half of a last
// bit. Of kF8's second moment it is the root whose mean is kept.
TEST(Moments, RoundingIsUnbiased) {
  const auto ctx = KernelContext::Create(1);
  constexpr int64_t kElements = 64;
  std::vector<float> g(kElements), w(kElements);
  for (int64_t i = 0; i < kElements; ++i)
    g[static_cast<size_t>(i)] = (i % 2 ? -1.0f : 1.0f) * std::exp2(-0.37f * static_cast<float>(i));
  for (const MomentFormat format : {MomentFormat::kBf16, MomentFormat::kF8}) {
    constexpr int kKeys = 4000;
    std::vector<double> m_mean(kElements), root_mean(kElements), v_mean(kElements);
    for (int key = 0; key < kKeys; ++key) {
      Stored stored(format, kElements);
      AdamWStored(*ctx, kTakesTheGradient, kElements, g.data(), w.data(), format, stored.m(), stored.v(),
                  static_cast<uint64_t>(key) * 0x1234567);
      const auto m = stored.Read(Moment::kFirst), v = stored.Read(Moment::kSecond);
      for (size_t i = 0; i < m.size(); ++i) {
        m_mean[i] += double{m[i]} / kKeys;
        v_mean[i] += double{v[i]} / kKeys;
        root_mean[i] += std::sqrt(double{v[i]}) / kKeys;
      }
    }
    for (size_t i = 0; i < g.size(); ++i) {
      const double x = g[i], bit = format == MomentFormat::kBf16 ? 0x1p-8 : 0x1p-3;
      // A last bit wide, at most: the mean of 4000 is within 5 deviations of bit / 2 / sqrt(4000). Below the least
      // magnitude of kF8 a step is that wide.
      const double width = std::max(bit * std::fabs(x), format == MomentFormat::kF8 ? 0x1p-15 : 0);
      EXPECT_NEAR(m_mean[i], x, 5 * width / 2 / std::sqrt(4000.0)) << i;
      if (format == MomentFormat::kBf16) {
        EXPECT_NEAR(v_mean[i], x * x, 5 * bit * x * x / 2 / std::sqrt(4000.0)) << i;
      } else if (std::fabs(x) >= 0x1p-15) {
        EXPECT_NEAR(root_mean[i], std::fabs(x), 5 * bit * std::fabs(x) / 4 / std::sqrt(4000.0)) << i;
      } else {
        EXPECT_NEAR(root_mean[i], 0x1p-15, 1e-12) << i;  // never 0
      }
    }
  }
}

TEST(Moments, ZerosStayZerosAndExtremesStayInRange) {
  const auto ctx = KernelContext::Create(1);
  for (const MomentFormat format : {MomentFormat::kBf16, MomentFormat::kF8}) {
    std::vector<float> w(600), g(600, 0.0f);
    Stored stored(format, 600);
    AdamWStored(*ctx, kTakesTheGradient, 600, g.data(), w.data(), format, stored.m(), stored.v(), 1);
    for (const Moment moment : {Moment::kFirst, Moment::kSecond}) {
      for (const float x : stored.Read(moment)) ASSERT_EQ(x, 0.0f);
    }
    // A block's largest value is kept as it is where it can be, whatever lies beside it.
    g[3] = 1.0f;
    g[4] = -1e-30f;
    g[300] = -1e15f;
    g[301] = 1e15f;
    AdamWStored(*ctx, kTakesTheGradient, 600, g.data(), w.data(), format, stored.m(), stored.v(), 2);
    const auto m = stored.Read(Moment::kFirst), v = stored.Read(Moment::kSecond);
    EXPECT_EQ(m[3], 1.0f);
    EXPECT_EQ(v[3], 1.0f);
    EXPECT_NEAR(m[300], -1e15, 1e13);
    EXPECT_NEAR(m[301], 1e15, 1e13);
    EXPECT_LE(std::fabs(m[4]), 0x1p-15f);
    EXPECT_GE(v[4], 0.0f);
    for (size_t i = 0; i < 600; ++i) ASSERT_TRUE(std::isfinite(m[i]) && std::isfinite(v[i])) << i;
    // A square that overflows stays alone with it; the largest finite value does not grow.
    g[3] = 1e25f;
    g[5] = std::numeric_limits<float>::max();
    g[300] = 1;
    AdamWStored(*ctx, kTakesTheGradient, 600, g.data(), w.data(), format, stored.m(), stored.v(), 3);
    const auto large_m = stored.Read(Moment::kFirst), large_v = stored.Read(Moment::kSecond);
    EXPECT_GE(large_v[3], 1e38f);
    EXPECT_GE(large_m[5], 3.3e38f);
    EXPECT_TRUE(std::isfinite(large_m[5]));
    EXPECT_EQ(large_v[6], 0.0f) << "its neighbour";
    EXPECT_EQ(large_m[6], 0.0f);
    // NaN is not lost.
    g[3] = std::numeric_limits<float>::quiet_NaN();
    AdamWStored(*ctx, kTakesTheGradient, 600, g.data(), w.data(), format, stored.m(), stored.v(), 4);
    EXPECT_TRUE(std::isnan(stored.Read(Moment::kFirst)[3]));
    EXPECT_TRUE(std::isnan(stored.Read(Moment::kSecond)[3]));
    EXPECT_FALSE(std::isnan(stored.Read(Moment::kSecond)[300])) << "of another block";
  }
}

}  // namespace
}  // namespace hone::kernels
