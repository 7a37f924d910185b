#include "reward_server/rules/accuracy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone::reward {
namespace {

using ::testing::HasSubstr;

ComponentScore Score(Match match, Extraction extraction, const std::string& reference, const std::string& text) {
  return AccuracyRule(match, extraction, reference).Score(text, Finish::kBySelf);
}

TEST(AccuracyTest, NumericAnswerInTheTag) {
  const auto score = [](const char* text) { return Score(Match::kNumeric, Extraction::kAnswerTag, "1/2", text); };
  EXPECT_EQ(score("<think>x</think><answer> 0.50 </answer><eos>").value, 1);
  EXPECT_THAT(score("<answer> 0.50 </answer>").reason, HasSubstr("'0.50' equals the reference '1/2'"));
  EXPECT_EQ(score("<answer>0.51</answer>").value, 0);
  EXPECT_THAT(score("<answer>0.51</answer>").reason, HasSubstr("differs"));
  EXPECT_THAT(score("0.5").reason, HasSubstr("no answer block"));
  EXPECT_THAT(score("<answer>half of it</answer>").reason, HasSubstr("not a number"));
  for (const char* wrong : {"0.5", "<answer>half</answer>", "", "<answer></answer>"}) {
    EXPECT_TRUE(score(wrong).scored) << wrong;  // a bad answer is a 0; only a bad reference is unscorable
    EXPECT_EQ(score(wrong).value, 0) << wrong;
  }
}

TEST(AccuracyTest, OtherExtractions) {
  EXPECT_EQ(Score(Match::kNumeric, Extraction::kBoxed, "0.5", "\\boxed{\\frac{1}{2}}").value, 1);
  EXPECT_EQ(Score(Match::kNumeric, Extraction::kBoxed, "7", "\\boxed{007}").value, 1);
  EXPECT_EQ(Score(Match::kNumeric, Extraction::kLastNumber, "18", "She makes 9 * 2 = $18 every day.<|im_end|>").value,
            1);
  EXPECT_EQ(Score(Match::kNumeric, Extraction::kLastNumber, "18", "= 18 <|end_2|>").value, 1);
  EXPECT_EQ(Score(Match::kNumeric, Extraction::kWhole, "42", " 42 </s>").value, 1);
}

TEST(AccuracyTest, StringsFoldCaseAndWhiteSpace) {
  const auto score = [](const char* reference, const char* text) {
    return Score(Match::kString, Extraction::kAnswerTag, reference, text);
  };
  EXPECT_EQ(score("New  York", "<answer> new york\n</answer>").value, 1);
  EXPECT_EQ(score("ÜBER", "<answer>über</answer>").value, 1);
  EXPECT_EQ(score("Caf\u00e9", "<answer>cafe\u0301</answer>").value, 1);  // composed and decomposed
  EXPECT_EQ(score("NewYork", "<answer>New York</answer>").value, 0);
  EXPECT_EQ(Score(Match::kString, Extraction::kBoxed, "b", "\\boxed{\\text{(B)}}").value, 1);
}

TEST(AccuracyTest, AReferenceThatCannotBeComparedIsUnscorableNotZero) {
  for (const char* reference : {"", "  ", "many", "1/0"}) {
    const ComponentScore score = Score(Match::kNumeric, Extraction::kAnswerTag, reference, "<answer>1</answer>");
    EXPECT_FALSE(score.scored) << reference;
    EXPECT_THAT(score.reason, HasSubstr("reference"));
  }
  EXPECT_FALSE(Score(Match::kString, Extraction::kAnswerTag, "", "<answer>1</answer>").scored);
  EXPECT_FALSE(Score(Match::kString, Extraction::kAnswerTag, "\xff", "<answer>1</answer>").scored);
  EXPECT_TRUE(Score(Match::kString, Extraction::kAnswerTag, "a", "<answer>\xff</answer>").scored);
}

TEST(AccuracyTest, LongRunsOfCombiningMarksDoNotHang) {
  std::string marks;
  while (marks.size() < 1 << 20) marks += "\u0301\u0316";
  EXPECT_EQ(Score(Match::kString, Extraction::kWhole, "a", marks).value, 0);
}

}  // namespace
}  // namespace hone::reward
