#include "reward_server/math/number.h"

#include <gtest/gtest.h>

#include <string>

namespace hone::reward {
namespace {

bool Same(const std::string& a, const std::string& b) {
  const auto x = ParseNumber(a), y = ParseNumber(b);
  EXPECT_TRUE(x.has_value()) << a;
  EXPECT_TRUE(y.has_value()) << b;
  return x && y && SameNumber(*x, *y);
}

TEST(NumberTest, SpellingsOfOneValueAreEqual) {
  const std::string groups[][8] = {
      {"1234", "1,234", "1{,}234", "1\\,234", " +1234. ", "1234.000", "$1,234", "01234"},
      {"0.5", ".5", "1/2", "\\frac{1}{2}", "\\dfrac12", "50%", "50\\%", "5e-1"},
      {"-3", "-3.0", "\u22123", "-\\frac{6}{2}", "\\frac{-6}{2}", "-$3", "$-3", "x = -3"},
      {"1.75", "1 3/4", "1\\frac{3}{4}", "7/4", "$\\frac{7}{4}$", "\\(1.75\\)", "\\left1.75\\right", "175e-2"},
      {"18", "18 apples", "18 km/h", "18\\text{ cm}", "18^\\circ", "18 元", "18 m^2", "USD 18"},
      {"1000000", "1,000,000", "1e6", "1000000 dollars", "€1,000,000", "1.0E+6", "1000000.", "0001000000"},
      {"0", "-0", "0.00", "0/7", "-0%", "+0", "00", "0 points"},
  };
  for (const auto& group : groups) {
    for (const std::string& text : group) EXPECT_TRUE(Same(group[0], text)) << group[0] << " and " << text;
  }
}

TEST(NumberTest, ComparisonIsExact) {
  EXPECT_FALSE(Same("12345678901234567890", "12345678901234567891"));
  EXPECT_FALSE(Same("0.3", "0.30000000000000004"));
  EXPECT_TRUE(Same("0.1", "1/10"));
  EXPECT_FALSE(Same("1/3", "0.3333333333333333333333"));
  EXPECT_TRUE(Same("2/6", "1/3"));
  EXPECT_TRUE(Same("1e299", "1" + std::string(299, '0')));
  EXPECT_FALSE(Same("-1", "1"));
}

TEST(NumberTest, APercentSignIsAFactorOrAUnit) {
  EXPECT_TRUE(Same("50%", "50"));
  EXPECT_TRUE(Same("0.5", "50 %"));
  EXPECT_FALSE(Same("50%", "0.5%"));
  EXPECT_FALSE(Same("50%", "5"));
}

TEST(NumberTest, WhatIsNotOneNumberIsNotRead) {
  for (const char* text : {"",          " ",      "abc", "-",     "+-3",      "--3",    "1/0",   "\\frac{1}{0}",
                           "\\frac{1}", "\\frac", "3 4", "1,2",   "1,23,456", "1,2345", "5x",    "5\\pi",
                           "5 million", "5万",    "5+3", "5 - 3", "3*4",      "5 or 6", "10:30", "(1, 2)",
                           "1.2.3",     "five",   "5½",  "$",     "%",        "x",      "x=",    "1e999",
                           "{5}x",      "0x10",   "²",   "5 = 5", "5;6",      "5 pi",   "nan",   "inf",
                           "1 2/0",     "1 -3/4"}) {
    EXPECT_FALSE(ParseNumber(text).has_value()) << text;
  }
}

TEST(NumberTest, HostileLengthsAreRefused) {
  EXPECT_FALSE(ParseNumber(std::string(1 << 20, '9')).has_value());
  EXPECT_FALSE(ParseNumber(std::string(301, '9')).has_value());
  EXPECT_TRUE(ParseNumber(std::string(300, '9')).has_value());
  EXPECT_TRUE(Same(std::string(300, '9'), std::string(300, '9')));
}

}  // namespace
}  // namespace hone::reward
