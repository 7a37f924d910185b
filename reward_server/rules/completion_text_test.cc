#include "reward_server/rules/completion_text.h"

#include <gtest/gtest.h>

#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

TEST(EndTokenTest, OneTrailingPieceWhereTheTextEndedByItself) {
  for (const char* token : {"<eos>", "</s>", "<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>"}) {
    const std::string text = std::string("a </answer> ") + token;
    EXPECT_EQ(WithoutEndToken(text, Finish::kBySelf), "a </answer> ") << token;
    EXPECT_EQ(WithoutEndToken(text + "\n", Finish::kBySelf), "a </answer> ") << token;
    EXPECT_EQ(WithoutEndToken(text, Finish::kCut), text) << token;
    EXPECT_EQ(WithoutEndToken(text + token, Finish::kBySelf), text) << token;  // only one
  }
}

TEST(EndTokenTest, OtherTextStays) {
  for (const char* text : {"", "a", "a </answer>", "<think>", "a < b >", "a <>", "1 > 0", "<a b>", "a > b>"}) {
    EXPECT_EQ(WithoutEndToken(text, Finish::kBySelf), text);
  }
  const std::string long_piece = "<" + std::string(65, 'a') + ">";
  EXPECT_EQ(WithoutEndToken(long_piece, Finish::kBySelf), long_piece);
  EXPECT_EQ(WithoutEndToken("<" + std::string(64, 'a') + ">", Finish::kBySelf), "");
}

TEST(ThinkBlockTest, OpenClosedAndPrefilled) {
  EXPECT_EQ(ThinkBlock("a<think>b</think>c"), "b");
  EXPECT_EQ(ThinkBlock("b</think>c"), "b");
  EXPECT_EQ(ThinkBlock("a<think>b"), "b");
  EXPECT_EQ(ThinkBlock("abc").data(), nullptr);
}

TEST(QuotedTest, CutBetweenCharacters) {
  EXPECT_EQ(Quoted("  a b "), "'a b'");
  std::string text;
  for (int i = 0; i < 50; ++i) text += "é";
  EXPECT_EQ(Quoted("x" + text), "'x" + text.substr(0, 58) + "…'");
}

TEST(UnicodeTest, Scripts) {
  EXPECT_EQ(ScriptOf(U'ß'), Script::kLatin);
  EXPECT_EQ(ScriptOf(U'×'), Script::kNone);
  EXPECT_EQ(ScriptOf(U'7'), Script::kNone);
  EXPECT_EQ(ScriptOf(U'所'), Script::kHan);
  EXPECT_EQ(ScriptOf(U'の'), Script::kKana);
  EXPECT_EQ(ScriptOf(U'ж'), Script::kCyrillic);
  EXPECT_EQ(ScriptOf(U'，'), Script::kNone);
}

}  // namespace
}  // namespace hone::reward
