#include <limits>

#include "kernels/reference/reference.h"
#include "kernels/testing.h"

namespace hone::kernels {
namespace {

using testing::Normal;

// Draws at evenly spaced uniforms: frequencies equal the distribution to within one draw per token.
void ExpectDistribution(const std::vector<float>& logits, const SamplingParams& params,
                        const uint8_t* banned = nullptr) {
  const auto vocab = static_cast<int64_t>(logits.size());
  const std::vector<double> expected = reference::SamplingDistribution(logits.data(), vocab, params, banned);
  const int draws = 4000;
  std::vector<int> counts(logits.size());
  int32_t last = -1;
  for (int i = 0; i < draws; ++i) {
    const int32_t token = Sample(logits.data(), vocab, params, (i + 0.5) / draws, banned);
    ASSERT_GE(token, last) << "inverse CDF in index order is monotone";
    last = token;
    ++counts[static_cast<size_t>(token)];
  }
  for (size_t t = 0; t < logits.size(); ++t) {
    EXPECT_NEAR(counts[t], expected[t] * draws, 1.0 + 1e-4 * draws * expected[t]) << "token " << t;
    if (expected[t] > 0) continue;
    EXPECT_EQ(counts[t], 0) << "token " << t << " is filtered";
  }
}

TEST(Sample, FollowsTheDistribution) {
  const auto logits = Normal(1, 40, 2.0f);
  ExpectDistribution(logits, {});
  ExpectDistribution(logits, {.temperature = 0.5f});
  ExpectDistribution(logits, {.temperature = 3.0f});
  ExpectDistribution(logits, {.top_k = 5});
  ExpectDistribution(logits, {.top_p = 0.8f});
  ExpectDistribution(logits, {.min_p = 0.1f});
  ExpectDistribution(logits, {.temperature = 1.3f, .top_k = 20, .top_p = 0.9f, .min_p = 0.05f});
  ExpectDistribution(logits, {.top_k = 1000});
}

TEST(Sample, LargeVocabulary) {
  const auto logits = Normal(2, 5003, 3.0f);
  ExpectDistribution(logits, {});
  ExpectDistribution(logits, {.top_k = 50, .top_p = 0.95f});
}

TEST(Sample, IndependentUniformsPassChiSquare) {
  const std::vector<float> logits = {0.0f, 1.0f, -1.0f, 0.5f, 2.0f, -0.5f};
  const auto p = reference::SamplingDistribution(logits.data(), 6, {}, nullptr);
  std::vector<int> counts(6);
  const int draws = 60000;
  for (uint32_t i = 0; i < draws; ++i)
    ++counts[static_cast<size_t>(Sample(logits.data(), 6, {}, SamplingUniform(1, 2, i, 0), nullptr))];
  double chi_square = 0;
  for (size_t t = 0; t < 6; ++t) chi_square += (counts[t] - draws * p[t]) * (counts[t] - draws * p[t]) / (draws * p[t]);
  EXPECT_LT(chi_square, 5 + 5 * 3.2);  // 5 degrees of freedom: mean 5, deviation sqrt(10)
}

TEST(Sample, GreedyTakesTheLowestIndexAmongEquals) {
  const std::vector<float> logits = {1.0f, 3.0f, 3.0f, 2.0f};
  EXPECT_EQ(Sample(logits.data(), 4, {.temperature = 0}, 0.999, nullptr), 1);
  const uint8_t banned[] = {0, 1, 0, 0};
  EXPECT_EQ(Sample(logits.data(), 4, {.temperature = 0}, 0.0, banned), 2);
  // 1 / 1e-39 is no float.
  EXPECT_EQ(Sample(logits.data(), 4, {.temperature = 1e-39f}, 0.999, nullptr), 1);
  EXPECT_EQ(Sample(logits.data(), 4, {.temperature = 1e-39f, .top_k = 2}, 0.999, nullptr), 1);
}

TEST(Sample, TiesAreKeptInIndexOrder) {
  const std::vector<float> logits(10, 1.5f);
  ExpectDistribution(logits, {.top_k = 3});      // tokens 0, 1, 2
  ExpectDistribution(logits, {.top_p = 0.25f});  // the smallest set with mass >= 0.25 is three tokens
  EXPECT_EQ(Sample(logits.data(), 10, {.top_k = 3}, 0.9999, nullptr), 2);
  EXPECT_EQ(Sample(logits.data(), 10, {.top_p = 0.25f}, 0.9999, nullptr), 2);
}

TEST(Sample, FiltersKeepAtLeastOneToken) {
  const auto logits = Normal(3, 30);
  const int32_t best = Sample(logits.data(), 30, {.temperature = 0}, 0, nullptr);
  for (double u : {0.0, 0.5, 0.999999}) {
    EXPECT_EQ(Sample(logits.data(), 30, {.top_k = 1}, u, nullptr), best);
    EXPECT_EQ(Sample(logits.data(), 30, {.top_p = 0.0f}, u, nullptr), best);
    EXPECT_EQ(Sample(logits.data(), 30, {.top_p = 1e-9f}, u, nullptr), best);
    EXPECT_EQ(Sample(logits.data(), 30, {.min_p = 1.0f}, u, nullptr), best);
    EXPECT_EQ(Sample(logits.data(), 30, {.temperature = 1e-4f}, u, nullptr), best);
  }
}

TEST(Sample, BannedTokensAreNeverDrawnAndRenormalise) {
  const auto logits = Normal(4, 12, 2.0f);
  std::vector<uint8_t> banned(12);
  banned[0] = banned[5] = banned[11] = 1;
  ExpectDistribution(logits, {}, banned.data());
  ExpectDistribution(logits, {.top_k = 4}, banned.data());
  ExpectDistribution(logits, {.top_p = 0.7f}, banned.data());
  // Even the best token, and even at the ends of the interval.
  std::vector<float> one(12, 0.0f);
  one[11] = 50.0f;
  for (double u : {0.0, 0.999999999}) EXPECT_NE(Sample(one.data(), 12, {}, u, banned.data()), 11);
}

TEST(Sample, NonFiniteLogits) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> some = {nan, -inf, 1.0f, nan, 1.0f};
  for (double u : {0.0, 0.3, 0.49}) EXPECT_EQ(Sample(some.data(), 5, {}, u, nullptr), 2);
  for (double u : {0.51, 0.99}) EXPECT_EQ(Sample(some.data(), 5, {}, u, nullptr), 4);
  const std::vector<float> infinite = {0.0f, inf, inf};
  EXPECT_EQ(Sample(infinite.data(), 3, {}, 0.9, nullptr), 1);
  const std::vector<float> nothing = {-inf, nan};
  EXPECT_EQ(Sample(nothing.data(), 2, {}, 0.9, nullptr), 0);
}

}  // namespace
}  // namespace hone::kernels
