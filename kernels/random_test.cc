#include "kernels/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace hone::kernels {
namespace {

TEST(Philox, KnownAnswers) {  // the vectors that Random123 distributes for philox4x32-10
  EXPECT_EQ(Philox4x32(0, {0, 0, 0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(Philox4x32(~uint64_t{0}, {kOnes, kOnes, kOnes, kOnes}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32(uint64_t{0x299f31d0} << 32 | 0xa4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SamplingUniform, IsUniformAndSeparatesEveryArgument) {
  const double base = SamplingUniform(1, 2, 3, 4);
  EXPECT_EQ(base, SamplingUniform(1, 2, 3, 4));
  for (double other : {SamplingUniform(2, 2, 3, 4), SamplingUniform(1, 3, 3, 4), SamplingUniform(1, 2, 4, 4),
                       SamplingUniform(1, 2, 3, 5), SamplingUniform(1, uint64_t{2} << 32, 3, 4)}) {
    EXPECT_NE(base, other);
  }
  // Chi-square over 64 bins: mean 63, deviation sqrt(126) = 11.2.
  std::vector<int> bins(64);
  const int draws = 64000;
  for (uint32_t i = 0; i < draws; ++i) {
    const double u = SamplingUniform(7, 11, i / 100, i % 100);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++bins[static_cast<size_t>(u * 64)];
  }
  double chi_square = 0;
  for (int count : bins) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 63 + 5 * 11.2);
  EXPECT_GT(chi_square, 63 - 5 * 11.2);
}

TEST(StreamKey, SeparatesPurposes) {
  std::set<uint64_t> keys;
  for (uint64_t seed : {0, 1, 2}) {
    for (const char* purpose : {"", "init", "inits", "shuffle", "rl", "lr"}) {
      for (uint64_t extra : {0, 1}) keys.insert(StreamKey(seed, purpose, extra));
    }
  }
  EXPECT_EQ(keys.size(), 36u);
  EXPECT_EQ(StreamKey(5, "init"), StreamKey(5, "init", 0));
}

TEST(NormalDraws, HaveTheMomentsOfTheNormalDistribution) {
  const int64_t n = 200001;
  std::vector<float> x(n);
  NormalDraws(3, n, x.data());
  double mean = 0, square = 0, fourth = 0;
  for (float v : x) {
    mean += v;
    square += double{v} * v;
    fourth += double{v} * v * v * v;
  }
  EXPECT_NEAR(mean / n, 0.0, 5 / std::sqrt(n));
  EXPECT_NEAR(square / n, 1.0, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth / n, 3.0, 5 * std::sqrt(96.0 / n));
  // An element depends on (key, index) alone.
  std::vector<float> shorter(77);
  NormalDraws(3, 77, shorter.data());
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), x.begin()));
}

TEST(Permutation, IsAPermutationAndFair) {
  for (int64_t n : {0, 1, 2, 100}) {
    std::vector<int64_t> p = Permutation(9, n);
    std::sort(p.begin(), p.end());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(p[static_cast<size_t>(i)], i);
  }
  EXPECT_NE(Permutation(1, 100), Permutation(2, 100));
  std::vector<int> first(5);
  for (uint64_t key = 0; key < 10000; ++key) ++first[static_cast<size_t>(Permutation(key, 5)[0])];
  for (int count : first) EXPECT_NEAR(count, 2000, 5 * std::sqrt(10000 * 0.2 * 0.8));
}

}  // namespace
}  // namespace hone::kernels
