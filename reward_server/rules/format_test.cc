#include "reward_server/rules/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone::reward {
namespace {

using ::testing::HasSubstr;

double Value(const std::string& text, Finish finish = Finish::kBySelf, const FormatRule& rule = {}) {
  const ComponentScore score = ScoreFormat(rule, text, finish);
  EXPECT_TRUE(score.scored);
  EXPECT_FALSE(score.reason.empty());
  return score.value;
}

TEST(FormatTest, OneThinkBlockThenOneAnswerBlock) {
  EXPECT_EQ(Value("<think> 1 plus 2 </think> <answer> 3 </answer> <eos>"), 1);
  EXPECT_EQ(Value("\n<think>a</think>\n\n<answer>b</answer>\n<|im_end|>"), 1);
  EXPECT_EQ(Value("<think>a</think><answer>b</answer>"), 1);  // ended by a stop string
}

TEST(FormatTest, AnythingElseIsZero) {
  for (const char* text : {"",
                           "3",
                           "<answer>b</answer>",
                           "<think>a</think>",
                           "<think>a</think> b",
                           "<think></think><answer>b</answer>",
                           "<think> \n </think><answer>b</answer>",
                           "<think>a</think><answer> </answer>",
                           "x <think>a</think><answer>b</answer>",
                           "<think>a</think> x <answer>b</answer>",
                           "<think>a</think><answer>b</answer> x",
                           "<think>a</think><answer>b</answer><answer>c</answer>",
                           "<think>a</think><think>a</think><answer>b</answer>",
                           "<think><think>a</think><answer>b</answer>",
                           "<answer>b</answer><think>a</think>",
                           "<think>a<answer>b</answer></think>",
                           "<think>a</think><answer>b</answer><eos><eos>",
                           "<think>a<answer>b</answer>",
                           "<think>a</think><answer>b",
                           "</think>a<think><answer>b</answer>",
                           "<Think>a</Think><answer>b</answer>",
                           "<think>a</think><answer>b</answer></answer>"}) {
    EXPECT_EQ(Value(text), 0) << text;
  }
}

TEST(FormatTest, CutOffCompletionsFailUnlessAllowed) {
  const std::string text = "<think>a</think><answer>b</answer>";
  EXPECT_EQ(Value(text, Finish::kCut), 0);
  FormatRule rule;
  rule.require_finished = false;
  EXPECT_EQ(Value(text, Finish::kCut, rule), 1);
  EXPECT_EQ(Value(text + "<eos>", Finish::kCut, rule), 0);  // a text that did not end has no end token to forgive
}

TEST(FormatTest, PrefilledThinkBlock) {
  FormatRule rule;
  rule.think_prefilled = true;
  EXPECT_EQ(Value("a</think><answer>b</answer>", Finish::kBySelf, rule), 1);
  EXPECT_EQ(Value(" </think><answer>b</answer>", Finish::kBySelf, rule), 0);
  EXPECT_EQ(Value("<think>a</think><answer>b</answer>", Finish::kBySelf, rule), 0);
  EXPECT_EQ(Value("a</think><answer>b</answer>"), 0);
}

TEST(FormatTest, AnswerPatternMatchesTheTrimmedWhole) {
  const Pattern digit = Pattern::Compile("\\d").value();
  FormatRule rule;
  rule.answer_pattern = &digit;
  EXPECT_EQ(Value("<think>a</think><answer> 3 </answer>", Finish::kBySelf, rule), 1);
  EXPECT_EQ(Value("<think>a</think><answer> 3 4 </answer>", Finish::kBySelf, rule), 0);
  EXPECT_EQ(Value("<think>a</think><answer>33</answer>", Finish::kBySelf, rule), 0);
}

TEST(FormatTest, APatternWithoutVerdictIsUnscorable) {
  const Pattern slow = Pattern::Compile("(a+)+b").value();
  FormatRule rule;
  rule.answer_pattern = &slow;
  const ComponentScore score =
      ScoreFormat(rule, "<think>a</think><answer>" + std::string(5000, 'a') + "</answer>", Finish::kBySelf);
  EXPECT_FALSE(score.scored);
  EXPECT_THAT(score.reason, HasSubstr("limits"));
}

TEST(FormatTest, HostileTextsTakeLinearTime) {
  for (const char* piece : {"<think>", "</think>", "<answer>", "</answer>", "<", " ", "<think></think>"}) {
    std::string text;
    while (text.size() < 1 << 20) text += piece;
    EXPECT_EQ(Value(text), 0) << piece;
  }
}

}  // namespace
}  // namespace hone::reward
