#include "reward_server/rules/arithmetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace hone::reward {
namespace {

using ::testing::ElementsAre;

const std::map<std::string, std::string> kWords = {{"plus", "+"}, {"minus", "-"}, {"times", "*"}, {"is", "="},
                                                   {"加", "+"},   {"减", "-"},    {"乘", "*"},    {"得", "="}};

std::vector<double> Values(const std::string& text, int64_t modulus = 0) {
  std::vector<double> values;
  for (const StepValue& step : ArithmeticRule(kWords, modulus).Score(text).steps) values.push_back(step.value);
  return values;
}

TEST(ArithmeticTest, EachEquationIsAStep) {
  const std::string text = "First 3 + 4 = 7. Then 7 * 2 = 15, so the answer is 15.";
  const ComponentScore score = ArithmeticRule({}, 0).Score(text);
  ASSERT_EQ(score.steps.size(), 2u);
  EXPECT_EQ(text.substr(0, score.steps[0].end), "First 3 + 4 = 7");
  EXPECT_EQ(score.steps[0].value, 1);
  EXPECT_EQ(text.substr(0, score.steps[1].end), "First 3 + 4 = 7. Then 7 * 2 = 15");
  EXPECT_EQ(score.steps[1].value, 0);
  EXPECT_EQ(score.value, 0.5);
  EXPECT_EQ(score.reason, "1 of 2 equations are right");
}

TEST(ArithmeticTest, PrecedenceSignsAndChains) {
  EXPECT_THAT(Values("2+3*4=14"), ElementsAre(1));
  EXPECT_THAT(Values("20 - 12 / 4 * 2 - 1 = 13"), ElementsAre(1));
  EXPECT_THAT(Values("2 - 5 = -3"), ElementsAre(1));
  EXPECT_THAT(Values("2 - 5 = 3"), ElementsAre(0));
  EXPECT_THAT(Values("3 × 4 − 2 ÷ 2 = 11"), ElementsAre(1));
  EXPECT_THAT(Values("3 + 4 = 5 + 2 = 7"), ElementsAre(1, 1));
  EXPECT_THAT(Values("3 + 4 = 7 + 1 = 8"), ElementsAre(0, 1)) << "7 is not 8";
  EXPECT_THAT(Values("12 = 3 * 4, and 3 * 4 = 10 + 2"), ElementsAre(1, 1));
  EXPECT_THAT(Values("x = 3 + 4 = 7"), ElementsAre(1));
  EXPECT_THAT(Values("7 / 2 = 3"), ElementsAre(0)) << "not a whole number";
  EXPECT_THAT(Values("7 / 0 = 0"), ElementsAre(0));
  EXPECT_THAT(Values("9223372036854775807 + 1 = 0"), ElementsAre(0));
}

TEST(ArithmeticTest, WordsStandForSigns) {
  EXPECT_THAT(Values("<think> 3 plus 4 is 7 so 7 times 2 is 4 </think>", 10), ElementsAre(1, 1));
  EXPECT_THAT(Values("3加4得7 所以 7乘2得5", 10), ElementsAre(1, 0));
  EXPECT_THAT(Values("2 minus 5 is 7", 10), ElementsAre(1));
  EXPECT_THAT(Values("2 + 3 = 5", std::numeric_limits<int64_t>::max()), ElementsAre(1));
  const ArithmeticRule phrases({{"等于", "="}, {"is equal to", "="}, {"is", "="}, {"⋅", "*"}}, 0);
  for (const char* text : {"3+4等于7", "3 + 4 is equal to 7", "3 + 4 is 7", "2 ⋅ 3 is 6"}) {
    EXPECT_EQ(phrases.Score(text).value, 1) << text;
  }
  EXPECT_TRUE(phrases.Score("3 + 4 isn 7").steps.empty());
}

TEST(ArithmeticTest, WhatIsNoEquationIsNoStep) {
  for (const char* text : {"", "x = 3", "7 = 7", "3 + = 4", "3 + 4", "1.5 + 1 = 2.5", "1,000 + 1 = 1,001",
                           "3 plusses 4 is 7", "= 3 + 4", "5 is 5 is 5", "3 + four = 7",
                           // Its end alone would be another equation.
                           "1.5 * 2 + 3 = 6", "1,200 / 2 + 40 = 640", "(2 + 3) * 4 + 1 = 21", "(2 + 3) - 4 + 1 = 2",
                           "-3 + 5 = 2", "2 + -3 + 1 = 0", "x * 4 + 1 = 21", "a2 + 3 = 9", "x - 3 + 5 = 2"}) {
    const ComponentScore score = ArithmeticRule(kWords, 0).Score(text);
    EXPECT_TRUE(score.scored) << text;
    EXPECT_EQ(score.value, 0) << text;
    EXPECT_TRUE(score.steps.empty()) << text << ": " << score.reason;
  }
}

}  // namespace
}  // namespace hone::reward
