// The numbers of the papers: section names refer to what each test checks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "learner/algorithms/advantage.h"
#include "learner/algorithms/aggregation.h"
#include "learner/algorithms/correction.h"
#include "learner/algorithms/estimator.h"
#include "learner/algorithms/kl.h"
#include "learner/algorithms/objective.h"
#include "learner/algorithms/policy_loss.h"
#include "learner/algorithms/process.h"
#include "learner/algorithms/ratio.h"
#include "learner/algorithms/returns.h"
#include "learner/algorithms/whitening.h"

namespace hone::learner {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using OptionalRewards = std::vector<std::optional<double>>;

std::vector<double> Advantages(const OptionalRewards& rewards, AdvantageNormalization normalization, double epsilon = 0,
                               AdvantageBaseline baseline = AdvantageBaseline::kGroupMean) {
  return ComputeAdvantages(rewards, {.baseline = baseline, .normalization = normalization, .epsilon = epsilon});
}

void ExpectNear(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

TEST(Advantage, DeepSeekR1Group) {
  ExpectNear(Advantages({2, 1, 1, 0}, AdvantageNormalization::kPopulationStd), {1.41421, 0, 0, -1.41421}, 5e-6);
  ExpectNear(Advantages({2, 1, 1, 0}, AdvantageNormalization::kSampleStd), {1.22474, 0, 0, -1.22474}, 5e-6);
}

TEST(Advantage, GrpoDrGrpoAndRloo) {
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kPopulationStd), {1, -1, -1, 1}, 1e-12);
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kSampleStd), {.866025, -.866025, -.866025, .866025},
             5e-7);
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kNone), {.5, -.5, -.5, .5}, 1e-12);
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kNone, 0, AdvantageBaseline::kLeaveOneOut),
             {2 / 3.0, -2 / 3.0, -2 / 3.0, 2 / 3.0}, 1e-12);
}

// DeepSeekMath, section 4.1.3: step rewards {1, 0} and {.5, .5, 0}; their mean is .4, population deviation .374166.
TEST(Advantage, ProcessSupervision) {
  const std::vector<StepReward> first = {{0, 1}, {1, 0}}, second = {{0, .5}, {1, .5}, {2, 0}};
  const std::vector<JudgedSample> group = {{first, 2}, {second, 3}};
  const AdvantageOptions population = {.normalization = AdvantageNormalization::kPopulationStd, .epsilon = 0};
  const auto advantages = ProcessAdvantages(group, population);
  ExpectNear(advantages[0], {.534522, -1.069045}, 1e-6);
  ExpectNear(advantages[1], {-.534522, -.801784, -1.069045}, 1e-6);
  // Steps of several tokens: all of a step's have what is still to come.
  const std::vector<StepReward> longer = {{1, 1}, {3, 0}};
  const auto spread = ProcessAdvantages(std::vector<JudgedSample>{{longer, 5}, {second, 3}}, population);
  ExpectNear(spread[0], {.534522, .534522, -1.069045, -1.069045, 0}, 1e-6);
  const AdvantageOptions sample = {.normalization = AdvantageNormalization::kSampleStd, .epsilon = 0};
  EXPECT_NEAR(ProcessAdvantages(group, sample)[0][1], -.4 / .418330, 1e-6);
}

TEST(Advantage, ProcessSupervisionOfNothing) {
  const std::vector<StepReward> equal = {{0, 1}, {1, 1}};
  const AdvantageOptions options;
  EXPECT_THAT(ProcessAdvantages(std::vector<JudgedSample>{{equal, 2}, {equal, 2}}, options)[0], ElementsAre(0, 0));
  const auto none = ProcessAdvantages(std::vector<JudgedSample>{{{}, 2}, {{}, 0}}, options);
  EXPECT_THAT(none[0], ElementsAre(0, 0));
  EXPECT_TRUE(none[1].empty());
}

TEST(Estimator, ProcessSupervisionGroupByGroup) {
  const std::vector<OutcomeSample> samples = {
      {.group = 0, .reward = 1, .in_loss = true, .tokens = 2, .steps = {{0, 1}, {1, 0}}},
      {.group = 0, .reward = 1, .in_loss = true, .tokens = 3, .steps = {{0, .5}, {1, .5}, {2, 0}}},
      {.group = 0, .in_loss = false, .tokens = 1, .steps = {{0, 100}}},  // unscorable: no part of the mean
      {.group = 1, .reward = 1, .in_loss = true, .tokens = 2, .steps = {{1, 7}}}};
  const auto advantages = EstimateAdvantages(
      samples, {.advantage = {.normalization = AdvantageNormalization::kPopulationStd, .epsilon = 0}, .process = true});
  ExpectNear(advantages[0], {.534522, -1.069045}, 1e-6);
  ExpectNear(advantages[1], {-.534522, -.801784, -1.069045}, 1e-6);
  ExpectNear(advantages[2], {0}, 0);
  ExpectNear(advantages[3], {0, 0}, 0);
}

// r_i - mean of the others, over the others' deviation: of {1, 0, 0} and of {0, 0, 1} it is 0.57735.
TEST(Advantage, OverTheDeviationOfTheOthers) {
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kOthersStd, 0, AdvantageBaseline::kLeaveOneOut),
             {1.154701, -1.154701, -1.154701, 1.154701}, 5e-7);
  // The first one's others are equal: nothing divides.
  ExpectNear(Advantages({1, 0, 0}, AdvantageNormalization::kOthersStd, 0, AdvantageBaseline::kLeaveOneOut),
             {1, -0.5 / std::sqrt(0.5), -0.5 / std::sqrt(0.5)}, 1e-12);
}

TEST(Advantage, WithoutABaselineIsTheReward) {
  const auto rewards = [](const OptionalRewards& given) {
    return Advantages(given, AdvantageNormalization::kNone, 0, AdvantageBaseline::kNone);
  };
  EXPECT_THAT(rewards({1, 1, std::nullopt}), ElementsAre(1, 1, 0));
  EXPECT_THAT(rewards({3}), ElementsAre(3));
}

TEST(Advantage, EpsilonIsAddedToTheDeviation) {
  ExpectNear(Advantages({1, 0, 0, 1}, AdvantageNormalization::kPopulationStd, 0.5), {.5, -.5, -.5, .5}, 1e-12);
}

TEST(Advantage, EqualRewardsGiveExactlyZero) {
  // The mean of three 0.1 is not 0.1 in binary: without the rule the advantages would be rounding noise.
  for (const auto baseline : {AdvantageBaseline::kGroupMean, AdvantageBaseline::kLeaveOneOut}) {
    for (const auto mode : {AdvantageNormalization::kNone, AdvantageNormalization::kSampleStd,
                            AdvantageNormalization::kPopulationStd, AdvantageNormalization::kOthersStd}) {
      EXPECT_THAT(Advantages({0.1, 0.1, 0.1}, mode, 1e-6, baseline), Each(0.0));
    }
  }
  EXPECT_TRUE(HasZeroVariance(OptionalRewards{0.1, std::nullopt, 0.1}));
  EXPECT_FALSE(HasZeroVariance(OptionalRewards{0.1, 0.2}));
  EXPECT_FALSE(HasZeroVariance(OptionalRewards{std::nullopt}));
}

TEST(Advantage, GroupOfOneAndEmptyGroup) {
  EXPECT_THAT(Advantages({1}, AdvantageNormalization::kSampleStd), ElementsAre(0));
  EXPECT_THAT(Advantages({1}, AdvantageNormalization::kNone, 0, AdvantageBaseline::kLeaveOneOut), ElementsAre(0));
  EXPECT_TRUE(Advantages({}, AdvantageNormalization::kSampleStd).empty());
}

TEST(Advantage, UnscorableAndNonFiniteAreLeftOut) {
  const OptionalRewards rewards = {1, std::nullopt, 0, std::numeric_limits<double>::quiet_NaN(),
                                   std::numeric_limits<double>::infinity()};
  ExpectNear(Advantages(rewards, AdvantageNormalization::kPopulationStd), {1, 0, -1, 0, 0}, 1e-12);
  EXPECT_THAT(Advantages({std::nullopt, 3}, AdvantageNormalization::kSampleStd, 1e-6), Each(0.0));
  EXPECT_TRUE(IsScored(rewards[0]));
  for (const int i : {1, 3, 4}) EXPECT_FALSE(IsScored(rewards[i])) << i;
}

TEST(Returns, OfRewardsFromATokenOn) {
  std::vector<double> rewards = {-1, 0, -2, 10};
  ReturnsToGo(rewards, 1);
  EXPECT_THAT(rewards, ElementsAre(7, 8, 8, 10));
  rewards = {-1, 0, -2, 10};
  ReturnsToGo(rewards, 0.5);
  EXPECT_THAT(rewards, ElementsAre(-0.25, 1.5, 3, 10));
  std::vector<double> none;
  ReturnsToGo(none, 1);
}

// Tokens 1, 1, 1, 5: mean 2, squares 12.
TEST(Whitening, MeanZeroAndVarianceOneOverAllTokens) {
  std::vector<double> a = {1, 1}, b = {1, 5}, empty;
  const std::vector<std::vector<double>*> rows = {&a, &empty, &b};
  Whiten(rows, /*population=*/false);
  ExpectNear({a[0], a[1], b[0], b[1]}, {-0.5, -0.5, -0.5, 1.5}, 1e-8);
  a = {1, 1}, b = {1, 5};
  Whiten(rows, /*population=*/true);
  ExpectNear({a[0], a[1], b[0], b[1]}, {-0.57735, -0.57735, -0.57735, 1.732051}, 1e-6);
  a = {0.1, 0.1}, b = {0.1};
  Whiten(rows, /*population=*/false);
  EXPECT_THAT(a, Each(0.0));
  EXPECT_THAT(b, Each(0.0));
}

std::vector<OutcomeSample> TwoGroups() {
  return {{.group = 0, .reward = 1, .in_loss = true, .tokens = 2, .penalties = {0.1, 0.2}},
          {.group = 0, .reward = 0, .in_loss = true, .tokens = 1, .penalties = {-0.1}},
          {.group = 1, .reward = std::nullopt, .in_loss = false, .tokens = 1, .penalties = {0.5}},
          {.group = 1, .reward = 3, .in_loss = true, .tokens = 1, .penalties = {0}},
          {.group = 1, .reward = 1, .in_loss = true, .tokens = 2, .penalties = {0, 0.4}}};
}

TEST(Estimator, EachTokenHasItsSamplesAdvantage) {
  const auto advantages =
      EstimateAdvantages(TwoGroups(), {.advantage = {.normalization = AdvantageNormalization::kNone}});
  EXPECT_THAT(advantages, ElementsAre(ElementsAre(0.5, 0.5), ElementsAre(-0.5), ElementsAre(0), ElementsAre(1),
                                      ElementsAre(-1, -1)));
}

TEST(Estimator, TheBatchsDeviationDividesAll) {
  const auto advantages = EstimateAdvantages(
      TwoGroups(), {.advantage = {.normalization = AdvantageNormalization::kBatchStd, .epsilon = 0}});
  // Rewards 1, 0, 3, 1: mean 1.25, squares 4.75.
  const double deviation = std::sqrt(4.75 / 3);
  ExpectNear(advantages[0], {0.5 / deviation, 0.5 / deviation}, 1e-12);
  ExpectNear(advantages[3], {1 / deviation}, 1e-12);
}

// RLOO: rewards 1 - 0.3 and 0 + 0.1; 3 and 1 - 0.4.
TEST(Estimator, KlOfASequenceIsTakenOffItsReward) {
  const auto advantages = EstimateAdvantages(
      TwoGroups(),
      {.advantage = {.baseline = AdvantageBaseline::kLeaveOneOut, .normalization = AdvantageNormalization::kNone},
       .kl_placement = KlPlacement::kSequenceReward});
  ExpectNear(advantages[0], {0.6, 0.6}, 1e-12);
  ExpectNear(advantages[1], {-0.6}, 1e-12);
  ExpectNear(advantages[3], {2.4}, 1e-12);
  ExpectNear(advantages[4], {-2.4, -2.4}, 1e-12);
}

// REINFORCE++ before whitening: returns of -penalty and, at the last token, the reward.
TEST(Estimator, KlOfATokenIsInTheReturns) {
  const EstimatorOptions options = {
      .advantage = {.baseline = AdvantageBaseline::kNone, .normalization = AdvantageNormalization::kNone},
      .kl_placement = KlPlacement::kTokenReward};
  const auto advantages = EstimateAdvantages(TwoGroups(), options);
  ExpectNear(advantages[0], {0.7, 0.8}, 1e-12);
  ExpectNear(advantages[1], {0.1}, 1e-12);
  ExpectNear(advantages[2], {0}, 1e-12);
  ExpectNear(advantages[4], {0.6, 0.6}, 1e-12);

  EstimatorOptions whitened = options;
  whitened.advantage.normalization = AdvantageNormalization::kWhiten;
  const auto white = EstimateAdvantages(TwoGroups(), whitened);
  double sum = 0, squares = 0;
  for (const size_t i : {0, 1, 3, 4}) {
    for (const double value : white[i]) {
      sum += value;
      squares += value * value;
    }
  }
  EXPECT_NEAR(sum, 0, 1e-9);
  EXPECT_NEAR(squares / 5, 1, 1e-6) << "six tokens are in the loss";
}

TEST(Ratio, OfATokenAndOfASequence) {
  const std::vector<float> old = {-1, -1, -1, -1};
  const std::vector<float> now = {-0.9f, -1.3f, -0.8f, -0.6f};  // log-ratios .1, -.3, .2, .4
  std::vector<double> ratios(4);
  ImportanceRatios(RatioLevel::kToken, now, old, ratios);
  ExpectNear(ratios, {std::exp(.1), std::exp(-.3), std::exp(.2), std::exp(.4)}, 1e-6);
  ImportanceRatios(RatioLevel::kSequenceMean, now, old, ratios);
  ExpectNear(ratios, {1.105171, 1.105171, 1.105171, 1.105171}, 1e-6);
  ImportanceRatios(RatioLevel::kSequenceProduct, now, old, ratios);
  ExpectNear(ratios, std::vector<double>(4, std::exp(.4)), 1e-6);
  for (const auto level : {RatioLevel::kToken, RatioLevel::kSequenceMean, RatioLevel::kSequenceProduct}) {
    ImportanceRatios(level, old, old, ratios);
    EXPECT_THAT(ratios, Each(1.0));
    ImportanceRatios(level, {}, {}, {});
  }
}

TEST(Ratio, StaysFinite) {
  EXPECT_TRUE(std::isfinite(BoundedExp(1e30)));
  EXPECT_GT(BoundedExp(-1e30), 0);
}

TokenPolicyLoss Clip(double ratio, double advantage, double low, double high, double dual = 0) {
  return PolicyLoss({.low = low, .high = high, .dual = dual}, ratio, advantage, -1);
}

TEST(PolicyLoss, R1WithEpsilonTen) {
  const TokenPolicyLoss high = Clip(12, 1, 10, 10);
  EXPECT_DOUBLE_EQ(-high.loss, 11);
  EXPECT_EQ(high.d_logprob, 0);
  EXPECT_TRUE(high.clipped_high);
  const TokenPolicyLoss negative = Clip(20, -1, 10, 10);
  EXPECT_DOUBLE_EQ(-negative.loss, -20);
  EXPECT_DOUBLE_EQ(negative.d_logprob, 20);
  EXPECT_FALSE(negative.clipped_high || negative.clipped_low);
  const TokenPolicyLoss small = Clip(0.01, -1, 10, 10);
  EXPECT_DOUBLE_EQ(-small.loss, -0.01);
  EXPECT_DOUBLE_EQ(small.d_logprob, 0.01);
  EXPECT_FALSE(small.clipped_low);
}

TEST(PolicyLoss, DapoBounds) {
  EXPECT_DOUBLE_EQ(-Clip(1.4, 1, 0.2, 0.28).loss, 1.28);
  EXPECT_EQ(Clip(1.4, 1, 0.2, 0.28).d_logprob, 0);
  const TokenPolicyLoss low = Clip(0.5, -2, 0.2, 0.28);
  EXPECT_DOUBLE_EQ(-low.loss, -1.6);
  EXPECT_EQ(low.d_logprob, 0);
  EXPECT_TRUE(low.clipped_low);
  // Outside of the interval, but on the side where the objective still pulls back: the gradient flows.
  EXPECT_DOUBLE_EQ(Clip(0.5, 2, 0.2, 0.28).d_logprob, -1.0);
  EXPECT_DOUBLE_EQ(Clip(1.0, 3, 0.2, 0.28).d_logprob, -3.0);
}

TEST(PolicyLoss, DualClipBoundsWhatABadTokenCosts) {
  const TokenPolicyLoss bounded = Clip(5, -2, 0.2, 0.2, 3);
  EXPECT_DOUBLE_EQ(bounded.loss, 6);
  EXPECT_EQ(bounded.d_logprob, 0);
  EXPECT_TRUE(bounded.clipped_dual);
  EXPECT_DOUBLE_EQ(Clip(2, -2, 0.2, 0.2, 3).loss, 4);
  EXPECT_DOUBLE_EQ(Clip(2, -2, 0.2, 0.2, 3).d_logprob, 4);
  EXPECT_DOUBLE_EQ(Clip(5, 2, 0.2, 0.2, 3).loss, -2.4) << "good ones are not its business";
}

TEST(PolicyLoss, CispoBoundsTheCoefficientAndKeepsTheGradient) {
  const PolicyLossOptions dapo = {.kind = PolicyLossKind::kCispo, .low = 0.2, .high = 0.28};
  EXPECT_DOUBLE_EQ(PolicyLoss(dapo, 1.4, 1, -0.7).d_logprob, -1.28);
  EXPECT_DOUBLE_EQ(PolicyLoss(dapo, 1.4, 1, -0.7).loss, 1.28 * 0.7);
  EXPECT_TRUE(PolicyLoss(dapo, 1.4, 1, -0.7).clipped_high);
  EXPECT_DOUBLE_EQ(PolicyLoss(dapo, 0.5, -1, -0.7).d_logprob, 0.8);
  EXPECT_TRUE(PolicyLoss(dapo, 0.5, -1, -0.7).clipped_low);
  EXPECT_DOUBLE_EQ(PolicyLoss(dapo, 1.1, 2, -0.7).d_logprob, -2.2);
  const PolicyLossOptions cap = {.kind = PolicyLossKind::kCispoCap, .high = 5};
  EXPECT_DOUBLE_EQ(PolicyLoss(cap, 7, 1, -0.7).d_logprob, -5);
  EXPECT_DOUBLE_EQ(PolicyLoss(cap, 0.01, 1, -0.7).d_logprob, -0.01);
}

TEST(PolicyLoss, DerivativeAgreesWithDifferences) {
  constexpr double kStep = 1e-6;
  const PolicyLossOptions options = {.low = 0.2, .high = 0.28, .dual = 2};
  for (const double advantage : {1.5, -0.7}) {
    for (const double logprob : {-2.0, -1.3, -1.0, -0.9, -0.1}) {
      const double up = PolicyLoss(options, BoundedExp(logprob + kStep + 1), advantage, 0).loss;
      const double down = PolicyLoss(options, BoundedExp(logprob - kStep + 1), advantage, 0).loss;
      EXPECT_NEAR(PolicyLoss(options, BoundedExp(logprob + 1), advantage, 0).d_logprob, (up - down) / (2 * kStep), 1e-6)
          << advantage << " " << logprob;
    }
  }
}

TEST(Kl, DeepSeekMathK3) {
  const double logs[] = {std::log(0.5), 0, std::log(2)};  // log(pi_ref / pi)
  const double k3[] = {0.193147, 0, 0.306853};
  const double coefficient[] = {0.98, 1.00, 1.04};  // A + beta (pi_ref / pi - 1), A = 1, beta = 0.04
  for (int i = 0; i < 3; ++i) {
    const TokenKl kl = EstimateKl(KlEstimator::kK3, -1.0, -1.0 + logs[i]);
    EXPECT_NEAR(kl.value, k3[i], 5e-7);
    EXPECT_NEAR(-(Clip(1.0, 1.0, 0.2, 0.2).d_logprob + 0.04 * kl.d_logprob), coefficient[i], 1e-12);
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
  const TokenKl plus = EstimateKl(KlEstimator::kK3Plus, -1, -3);
  EXPECT_DOUBLE_EQ(plus.value, EstimateKl(KlEstimator::kK3, -1, -3).value);
  EXPECT_DOUBLE_EQ(plus.d_logprob, EstimateKl(KlEstimator::kK2, -1, -3).d_logprob);
}

std::vector<double> Weights(CorrectionLevel level, CorrectionMode mode, double lower, double upper,
                            const std::vector<float>& log_rho) {
  std::vector<double> weights(log_rho.size(), 1.0);
  ApplyCorrection({level, mode, lower, upper}, log_rho, std::vector<float>(log_rho.size(), 0.0f), weights);
  return weights;
}

TEST(Correction, TisMisIcePopAndGeometricRejection) {
  const float log_rho = std::log(1.5f);
  const std::vector<float> two = {log_rho, log_rho};  // rho = [1.5, 1.5]: the sequence's 2.25, the geometric mean 1.5
  using enum CorrectionLevel;
  using enum CorrectionMode;
  ExpectNear(Weights(kToken, kTruncate, 0, 2, two), {1.5, 1.5}, 1e-6);
  ExpectNear(Weights(kToken, kTruncate, 0, 1.2, two), {1.2, 1.2}, 1e-6);
  ExpectNear(Weights(kSequence, kTruncate, 0, 2, two), {2, 2}, 1e-6);
  ExpectNear(Weights(kSequence, kMask, 0.5, 2, two), {0, 0}, 0);
  ExpectNear(Weights(kSequence, kMask, 0.5, 3, two), {2.25, 2.25}, 1e-6);
  ExpectNear(Weights(kGeometricMean, kMask, 0.5, 2, two), {1.5, 1.5}, 1e-6);
  ExpectNear(Weights(kGeometricMean, kReject, 0.999, 1.001, two), {0, 0}, 0);
  ExpectNear(Weights(kGeometricMean, kReject, 0.999, 1.6, two), {1, 1}, 0);
  ExpectNear(Weights(kToken, kMask, 0.5, 5, {0, std::log(6.0f), std::log(0.4f)}), {1, 0, 0}, 1e-6);
}

// Two outputs of lengths 2 and 8, objective +1 and -1 per token.
double WeightedObjective(LossAggregation aggregation, int64_t max_new_tokens) {
  const LossExtent extent{.sequences = 2, .tokens = 10, .max_new_tokens = max_new_tokens};
  return 2 * TokenWeight(aggregation, extent, 2) - 8 * TokenWeight(aggregation, extent, 8);
}

TEST(Aggregation, FourModes) {
  EXPECT_NEAR(WeightedObjective(LossAggregation::kSequenceMeanTokenMean, 10), 0, 1e-12);
  EXPECT_NEAR(WeightedObjective(LossAggregation::kTokenMean, 10), -0.6, 1e-12);
  EXPECT_NEAR(WeightedObjective(LossAggregation::kConstant, 10), -0.3, 1e-12);
  EXPECT_NEAR(WeightedObjective(LossAggregation::kSequenceMeanTokenSum, 10), -3, 1e-12);
}

TEST(Aggregation, NothingInTheLossHasNoWeight) {
  for (const auto mode : {LossAggregation::kTokenMean, LossAggregation::kSequenceMeanTokenMean,
                          LossAggregation::kSequenceMeanTokenSum, LossAggregation::kConstant}) {
    EXPECT_EQ(TokenWeight(mode, LossExtent{0, 0, 10}, 0), 0);
    EXPECT_EQ(TokenWeight(mode, LossExtent{1, 4, 10}, 0), 0);
  }
}

// One sequence of three tokens in a minibatch of two sequences and five tokens.
struct ObjectiveTest : testing::Test {
  LossTotals Evaluate(const std::vector<float>& now) {
    LossTotals totals;
    SequenceLoss(objective, {.sequences = 2, .tokens = 5, .max_new_tokens = 4},
                 {.logprobs = now,
                  .old_logprobs = old,
                  .rollout_logprobs = rollout,
                  .reference_logprobs = reference,
                  .entropies = entropies,
                  .advantages = advantages},
                 d_logprob, d_entropy, &totals);
    return totals;
  }
  double Loss(const std::vector<float>& now) {
    const LossTotals totals = Evaluate(now);
    return totals.policy_loss + objective.kl_coefficient * totals.kl_loss;
  }

  Objective objective{.kl_coefficient = 0.1};
  std::vector<float> logprobs = {-1, -2, -0.5f}, old = {-1.25f, -1.75f, -0.75f}, rollout = {-1.5f, -1.75f, -0.5f};
  std::vector<float> reference = {-1.5f, -2.5f, -0.25f}, entropies = {1, 2, 3};
  std::vector<double> advantages = {1, 1, 1};
  std::vector<float> d_logprob = std::vector<float>(3), d_entropy = std::vector<float>(3);
};

// CISPO's value is linear in log pi with a constant coefficient; k1's too.
TEST_F(ObjectiveTest, DerivativesAreThoseOfTheValueForEveryRatioAndAggregation) {
  constexpr float kStep = 1.0f / 1024;
  objective.policy = {.low = 0.9, .high = 9};
  for (const double sign : {1.0, -1.0}) {
    advantages = {sign, sign, sign};
    for (const auto ratio : {RatioLevel::kToken, RatioLevel::kSequenceMean, RatioLevel::kSequenceProduct}) {
      for (const auto aggregation : {LossAggregation::kTokenMean, LossAggregation::kSequenceMeanTokenMean,
                                     LossAggregation::kSequenceMeanTokenSum, LossAggregation::kConstant}) {
        objective.ratio = ratio;
        objective.aggregation = aggregation;
        for (size_t t = 0; t < 3; ++t) {
          std::vector<float> up = logprobs, down = logprobs;
          up[t] += kStep;
          down[t] -= kStep;
          const double slope = (Loss(up) - Loss(down)) / (2 * kStep);
          Evaluate(logprobs);
          EXPECT_NEAR(d_logprob[t], slope, 2e-6) << static_cast<int>(ratio) << static_cast<int>(aggregation) << t;
        }
      }
    }
  }
}

TEST_F(ObjectiveTest, CorrectionsWeighThePolicysTermAlone) {
  Evaluate(logprobs);
  const std::vector<float> plain = d_logprob;
  objective.kl_coefficient = 0;
  Evaluate(logprobs);
  const std::vector<float> policy_only = d_logprob;
  objective.kl_coefficient = 0.1;
  objective.corrections = {{CorrectionLevel::kToken, CorrectionMode::kMask, 0.9, 1.1}};  // rho: e^.25, 1, e^-.25
  const LossTotals totals = Evaluate(logprobs);
  EXPECT_NEAR(d_logprob[0], plain[0] - policy_only[0], 1e-7);
  EXPECT_EQ(d_logprob[1], plain[1]);
  EXPECT_NEAR(d_logprob[2], plain[2] - policy_only[2], 1e-7);
  EXPECT_EQ(totals.correction_zeros, 2);
  EXPECT_EQ(totals.correction, 1);
  EXPECT_EQ(totals.correction_max, 1);
}

TEST_F(ObjectiveTest, EntropyBonusAndKlInTheRewardHaveTheirPlaces) {
  objective.entropy_coefficient = 0.01;
  objective.kl_placement = KlPlacement::kTokenReward;
  const LossTotals totals = Evaluate(logprobs);
  EXPECT_THAT(d_entropy, Each(static_cast<float>(-0.01 / 5)));
  EXPECT_EQ(totals.kl_loss, 0);
  objective.entropy_coefficient = 0;
  d_entropy = {7, 7, 7};
  Evaluate(logprobs);
  EXPECT_THAT(d_entropy, Each(7)) << "not written";
}

TEST_F(ObjectiveTest, ASequencesProductCountsOnce) {
  objective = {.ratio = RatioLevel::kSequenceProduct, .aggregation = LossAggregation::kSequenceMeanTokenSum};
  // Log-ratios .25, -.25, .25: the product e^.25 is beyond 1.2, so the loss is -1.2 / 2 sequences.
  EXPECT_NEAR(Evaluate(logprobs).policy_loss, -0.6, 1e-12);
  EXPECT_THAT(d_logprob, Each(0.0f));
  objective.policy.high = 1;
  EXPECT_NEAR(Evaluate(logprobs).policy_loss, -std::exp(0.25) / 2, 1e-9);
  EXPECT_NEAR(d_logprob[1], -std::exp(0.25) / 2, 1e-7);
}

}  // namespace
}  // namespace hone::learner
