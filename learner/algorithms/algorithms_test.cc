// The numbers of the papers: section names refer to what each test checks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "learner/algorithms/advantage.h"
#include "learner/algorithms/aggregation.h"
#include "learner/algorithms/clip.h"
#include "learner/algorithms/kl.h"

namespace hone::learner {
namespace {

std::vector<double> Advantages(const std::vector<std::optional<double>>& rewards, AdvantageNormalization normalization,
                               double epsilon = 0) {
  return ComputeAdvantages(rewards, normalization, epsilon).advantages;
}

void ExpectNear(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

TEST(Advantage, DeepSeekR1Group) {
  ExpectNear(Advantages({2, 1, 1, 0}, AdvantageNormalization::kPopulationStd), {1.41421, 0, 0, -1.41421}, 5e-6);
  ExpectNear(Advantages({2, 1, 1, 0}, AdvantageNormalization::kSampleStd), {1.22474, 0, 0, -1.22474}, 5e-6);
}

TEST(Advantage, GrpoAndDrGrpo) {
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kPopulationStd), {1, -1, -1, 1}, 1e-12);
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kSampleStd), {.866025, -.866025, -.866025, .866025},
             5e-7);
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kNone), {.5, -.5, -.5, .5}, 1e-12);
}

TEST(Advantage, EpsilonIsAddedToTheDeviation) {
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kPopulationStd, 0.5), {.5, -.5, -.5, .5}, 1e-12);
}

TEST(Advantage, EqualRewardsGiveExactlyZero) {
  // The mean of three 0.1 is not 0.1 in binary: without the rule the advantages would be rounding noise.
  for (const auto mode :
       {AdvantageNormalization::kNone, AdvantageNormalization::kSampleStd, AdvantageNormalization::kPopulationStd}) {
    const GroupAdvantages group = ComputeAdvantages(std::vector<std::optional<double>>{0.1, 0.1, 0.1}, mode, 1e-6);
    EXPECT_EQ(group.advantages, (std::vector<double>{0, 0, 0}));
    EXPECT_TRUE(group.zero_variance);
    EXPECT_EQ(group.excluded, 0);
  }
}

TEST(Advantage, GroupOfOneAndEmptyGroup) {
  EXPECT_EQ(Advantages({1}, AdvantageNormalization::kSampleStd), std::vector<double>{0});
  EXPECT_EQ(Advantages({1}, AdvantageNormalization::kNone), std::vector<double>{0});
  EXPECT_TRUE(Advantages({}, AdvantageNormalization::kSampleStd).empty());
}

TEST(Advantage, UnscorableAndNonFiniteAreLeftOut) {
  const std::vector<std::optional<double>> rewards = {1, std::nullopt, 0, std::numeric_limits<double>::quiet_NaN(),
                                                      std::numeric_limits<double>::infinity()};
  const GroupAdvantages group = ComputeAdvantages(rewards, AdvantageNormalization::kPopulationStd, 0);
  ExpectNear(group.advantages, {1, 0, -1, 0, 0}, 1e-12);
  EXPECT_EQ(group.scored, (std::vector<bool>{true, false, true, false, false}));
  EXPECT_EQ(group.excluded, 3);
  EXPECT_FALSE(group.zero_variance);
  const GroupAdvantages alone =
      ComputeAdvantages(std::vector<std::optional<double>>{std::nullopt, 3}, AdvantageNormalization::kSampleStd, 1e-6);
  EXPECT_EQ(alone.advantages, (std::vector<double>{0, 0}));
  const GroupAdvantages none =
      ComputeAdvantages(std::vector<std::optional<double>>{std::nullopt}, AdvantageNormalization::kSampleStd, 1e-6);
  EXPECT_FALSE(none.zero_variance);
}

TEST(Clip, R1WithEpsilonTen) {
  const ClipRange range{10, 10};
  const TokenPolicyLoss high = ClippedPolicyLoss(12, 1, range);
  EXPECT_DOUBLE_EQ(-high.loss, 11);
  EXPECT_EQ(high.d_logprob, 0);
  EXPECT_TRUE(high.clipped_high);
  const TokenPolicyLoss negative = ClippedPolicyLoss(20, -1, range);
  EXPECT_DOUBLE_EQ(-negative.loss, -20);
  EXPECT_DOUBLE_EQ(negative.d_logprob, 20);
  EXPECT_FALSE(negative.clipped_high || negative.clipped_low);
  const TokenPolicyLoss small = ClippedPolicyLoss(0.01, -1, range);
  EXPECT_DOUBLE_EQ(-small.loss, -0.01);
  EXPECT_DOUBLE_EQ(small.d_logprob, 0.01);
  EXPECT_FALSE(small.clipped_low);
}

TEST(Clip, DapoBounds) {
  const ClipRange range{0.2, 0.28};
  EXPECT_DOUBLE_EQ(-ClippedPolicyLoss(1.4, 1, range).loss, 1.28);
  EXPECT_EQ(ClippedPolicyLoss(1.4, 1, range).d_logprob, 0);
  const TokenPolicyLoss low = ClippedPolicyLoss(0.5, -2, range);
  EXPECT_DOUBLE_EQ(-low.loss, -1.6);
  EXPECT_EQ(low.d_logprob, 0);
  EXPECT_TRUE(low.clipped_low);
  // Outside of the interval, but on the side where the objective still pulls back: the gradient flows.
  EXPECT_DOUBLE_EQ(ClippedPolicyLoss(0.5, 2, range).d_logprob, -1.0);
  EXPECT_DOUBLE_EQ(ClippedPolicyLoss(1.0, 3, range).d_logprob, -3.0);
}

TEST(Clip, RatioIsExactlyOneOnPolicyAndStaysFinite) {
  EXPECT_EQ(ImportanceRatio(-1.234f, -1.234f), 1.0);
  EXPECT_TRUE(std::isfinite(ImportanceRatio(0, -1e30)));
  EXPECT_GT(ImportanceRatio(-1e30, 0), 0);
}

TEST(Kl, DeepSeekMathK3) {
  const double logs[] = {std::log(0.5), 0, std::log(2)};  // log(pi_ref / pi)
  const double k3[] = {0.193147, 0, 0.306853};
  const double coefficient[] = {0.98, 1.00, 1.04};  // A + beta (pi_ref / pi - 1), A = 1, beta = 0.04
  for (int i = 0; i < 3; ++i) {
    const TokenKl kl = EstimateKl(KlEstimator::kK3, -1.0, -1.0 + logs[i]);
    EXPECT_NEAR(kl.value, k3[i], 5e-7);
    const TokenPolicyLoss policy = ClippedPolicyLoss(1.0, 1.0, ClipRange{});
    EXPECT_NEAR(-(policy.d_logprob + 0.04 * kl.d_logprob), coefficient[i], 1e-12);
  }
}

TEST(Kl, DerivativesAgreeWithDifferences) {
  constexpr double kStep = 1e-6;
  for (const KlEstimator estimator : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
    for (const double ref : {-3.0, -1.0, -0.2}) {
      const double up = EstimateKl(estimator, -1 + kStep, ref).value;
      const double down = EstimateKl(estimator, -1 - kStep, ref).value;
      EXPECT_NEAR(EstimateKl(estimator, -1, ref).d_logprob, (up - down) / (2 * kStep), 1e-7);
    }
  }
  EXPECT_DOUBLE_EQ(EstimateKl(KlEstimator::kK1, -1, -3).value, 2);
  EXPECT_DOUBLE_EQ(EstimateKl(KlEstimator::kK2, -1, -3).value, 2);
}

TEST(Clip, DerivativeAgreesWithDifferences) {
  constexpr double kStep = 1e-6;
  const ClipRange range{0.2, 0.28};
  for (const double advantage : {1.5, -0.7}) {
    for (const double logprob : {-2.0, -1.3, -1.0, -0.9, -0.1}) {
      const double up = ClippedPolicyLoss(ImportanceRatio(logprob + kStep, -1), advantage, range).loss;
      const double down = ClippedPolicyLoss(ImportanceRatio(logprob - kStep, -1), advantage, range).loss;
      EXPECT_NEAR(ClippedPolicyLoss(ImportanceRatio(logprob, -1), advantage, range).d_logprob,
                  (up - down) / (2 * kStep), 1e-6)
          << advantage << " " << logprob;
    }
  }
}

// Two outputs of lengths 2 and 8, objective +1 and -1 per token.
double Objective(LossAggregation aggregation, int64_t max_new_tokens) {
  const LossExtent extent{.sequences = 2, .tokens = 10, .max_new_tokens = max_new_tokens};
  return 2 * TokenWeight(aggregation, extent, 2) - 8 * TokenWeight(aggregation, extent, 8);
}

TEST(Aggregation, FourModes) {
  EXPECT_NEAR(Objective(LossAggregation::kSequenceMeanTokenMean, 10), 0, 1e-12);
  EXPECT_NEAR(Objective(LossAggregation::kTokenMean, 10), -0.6, 1e-12);
  EXPECT_NEAR(Objective(LossAggregation::kConstant, 10), -0.3, 1e-12);
  EXPECT_NEAR(Objective(LossAggregation::kSequenceMeanTokenSum, 10), -3, 1e-12);
}

TEST(Aggregation, NothingInTheLossHasNoWeight) {
  for (const auto mode : {LossAggregation::kTokenMean, LossAggregation::kSequenceMeanTokenMean,
                          LossAggregation::kSequenceMeanTokenSum, LossAggregation::kConstant}) {
    EXPECT_EQ(TokenWeight(mode, LossExtent{0, 0, 10}, 0), 0);
    EXPECT_EQ(TokenWeight(mode, LossExtent{1, 4, 10}, 0), 0);
  }
}

}  // namespace
}  // namespace hone::learner
