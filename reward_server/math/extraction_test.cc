#include "reward_server/math/extraction.h"

#include <gtest/gtest.h>

#include <string>

namespace hone::reward {
namespace {

using Found = std::optional<std::string_view>;

TEST(AnswerTagTest, TheLastCompleteBlock) {
  EXPECT_EQ(ExtractAnswerTag("<answer>1</answer> <answer> 2 </answer>"), Found(" 2 "));
  EXPECT_EQ(ExtractAnswerTag("<answer>1</answer> <answer> 2"), Found("1"));
  EXPECT_EQ(ExtractAnswerTag("<answer>1</answer> junk </answer>"), Found("1"));
  EXPECT_EQ(ExtractAnswerTag("<answer><answer>3</answer>"), Found("3"));
  EXPECT_EQ(ExtractAnswerTag("<answer></answer>"), Found(""));
  EXPECT_EQ(ExtractAnswerTag("</answer>3<answer>"), std::nullopt);
  EXPECT_EQ(ExtractAnswerTag("3"), std::nullopt);
}

// DeepSeek-R1's evaluation (design methods, section 11.7).
TEST(BoxedTest, TheLastWithBalancedBraces) {
  EXPECT_EQ(ExtractBoxed("so \\boxed{\\frac{1}{2}}."), Found("\\frac{1}{2}"));
  EXPECT_EQ(ExtractBoxed("\\boxed{3} ... \\boxed{5}"), Found("5"));
  EXPECT_EQ(ExtractBoxed("\\boxed{\\text{(B)}}"), Found("B"));
  EXPECT_EQ(ExtractBoxed("\\boxed{3} and \\boxed{4"), Found("3"));
  EXPECT_EQ(ExtractBoxed("\\boxed{a \\} b}"), Found("a \\} b"));
  EXPECT_EQ(ExtractBoxed("\\boxed{\\boxed{5}}"), Found("5"));
  EXPECT_EQ(ExtractBoxed("\\fbox{6}"), Found("6"));
  EXPECT_EQ(ExtractBoxed("boxed{5} \\boxed 5"), std::nullopt);
  EXPECT_EQ(ExtractBoxed("\\boxed{\\text{a} b}"), Found("\\text{a} b"));
}

TEST(LastNumberTest, WholeNumbersOutsideOfWords) {
  EXPECT_EQ(ExtractLastNumber("first 3, then 1,234.50."), Found("1,234.50"));
  EXPECT_EQ(ExtractLastNumber("it is -7"), Found("-7"));
  EXPECT_EQ(ExtractLastNumber("10-7"), Found("7"));
  EXPECT_EQ(ExtractLastNumber("it is \u22125 degrees"), Found("\u22125"));
  EXPECT_EQ(ExtractLastNumber("a rate of 3/4 of x2"), Found("3/4"));
  EXPECT_EQ(ExtractLastNumber("so \\frac{1}{2} remains"), Found("\\frac{1}{2}"));
  EXPECT_EQ(ExtractLastNumber("about 12% of v_3"), Found("12%"));
  EXPECT_EQ(ExtractLastNumber(".5"), Found(".5"));
  EXPECT_EQ(ExtractLastNumber("1, 2, 3"), Found("3"));
  EXPECT_EQ(ExtractLastNumber("none"), std::nullopt);
}

// Each of these would take hours if any step looked back over the text.
TEST(ExtractionTest, HostileTextsTakeLinearTime) {
  for (const char* piece :
       {"<answer>", "</answer>", "\\boxed{", "{", "}", "\\", "1,", "-", "1/", "\\frac{1}{", ".", "\u2212"}) {
    std::string text;
    while (text.size() < 1 << 20) text += piece;
    ExtractAnswerTag(text);
    ExtractBoxed(text);
    ExtractLastNumber(text);
  }
  EXPECT_EQ(ExtractLastNumber(std::string(1 << 20, '7'))->size(), 1u << 20);
}

}  // namespace
}  // namespace hone::reward
