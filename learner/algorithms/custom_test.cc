#include "learner/algorithms/custom.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

namespace hone::learner {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CustomPieces, SapoIsTheClipsLossNearRatioOneAndFallsOffBeyond) {
  const auto loss = BindLoss("loss", "sapo", {});
  ASSERT_TRUE(loss.ok()) << loss.status();
  const auto at = [&](double logprob, double advantage) {
    return (*loss)({.ratio = std::exp(logprob), .advantage = advantage, .logprob = logprob});
  };
  EXPECT_DOUBLE_EQ(at(0, 1).d_logprob, -1) << "at ratio 1 the gradient is that of the policy gradient";
  EXPECT_DOUBLE_EQ(at(0, -1).d_logprob, 1);
  EXPECT_DOUBLE_EQ(at(0, 1).loss, -2) << "4 / tau * sigmoid(0)";
  EXPECT_LT(std::abs(at(2, 1).d_logprob), 0.1) << "ratio 7.4: hardly any";
  for (const double advantage : {0.7, -1.3}) {
    for (const double logprob : {-0.5, 0.1, 0.6}) {
      constexpr double kStep = 1e-6;
      const double slope = (at(logprob + kStep, advantage).loss - at(logprob - kStep, advantage).loss) / (2 * kStep);
      EXPECT_NEAR(at(logprob, advantage).d_logprob, slope, 1e-8) << logprob << " " << advantage;
    }
  }
}

TEST(CustomPieces, ParametersStandAboveTheDefaults) {
  const auto loss = BindLoss("loss", "sapo", {{"tau_positive", 4}});
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_DOUBLE_EQ((*loss)({.ratio = 1, .advantage = 1}).loss, -0.5);
  EXPECT_DOUBLE_EQ((*loss)({.ratio = 1, .advantage = -1}).loss, 2 / 1.05);
}

TEST(CustomPieces, TakeTheirPlacesAmongTheOthers) {
  const PolicyLossOptions options{.custom = *BindLoss("loss", "sapo", {})};
  EXPECT_DOUBLE_EQ(PolicyLoss(options, 1, 1, -3).loss, -2);
  const AdvantageOptions advantage{.custom = *BindAdvantage("advantage", "max_rl", {})};
  const std::vector<std::optional<double>> rewards = {1, std::nullopt, 0, 0, 0};
  EXPECT_THAT(ComputeAdvantages(rewards, advantage), ElementsAre(3, 0, -1, -1, -1)) << "the unscored one is no part";
  EXPECT_THAT(ComputeAdvantages(std::vector<std::optional<double>>(2), advantage), ElementsAre(0, 0));
}

TEST(CustomPieces, WhatIsNotThereIsNamed) {
  EXPECT_THAT(std::string(BindLoss("loss", "sappo", {}).status().message()),
              HasSubstr("loss.name: 'sappo' is not built in; there are: sapo"));
  EXPECT_THAT(std::string(BindLoss("loss", "sapo", {{"tau", 1}}).status().message()),
              HasSubstr("loss.parameters.tau: 'sapo' has no such parameter; it has: tau_negative, tau_positive"));
  EXPECT_THAT(std::string(BindAdvantage("advantage", "max_rl", {{"a", 1}}).status().message()),
              HasSubstr("it has: none"));
  EXPECT_EQ(std::string(BindLoss("loss", "sapo", {{"tau_negative", 0}}).status().message()),
            "loss.parameters: tau_negative: expected above 0, got 0.000000");
}

}  // namespace
}  // namespace hone::learner
