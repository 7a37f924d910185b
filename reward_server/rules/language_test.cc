#include "reward_server/rules/language.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone::reward {
namespace {

using ::testing::HasSubstr;
using Words = std::map<std::string, std::vector<std::string>>;

double Share(const std::string& text, const std::string& language, bool think_only = false) {
  const ComponentScore score = ScoreLanguage(text, language, {}, think_only);
  EXPECT_TRUE(score.scored) << score.reason;
  return score.value;
}

// Design methods, section 1.8, test 4.
TEST(LanguageTest, LatinRunsAndSingleIdeographs) {
  EXPECT_NEAR(Share("We set x = 2, 然后 y = 3", "en"), 0.66667, 5e-6);
  EXPECT_NEAR(Share("We set x = 2, 然后 y = 3", "zh"), 0.33333, 5e-6);
  EXPECT_EQ(ScoreLanguage("We set x = 2, 然后 y = 3", "en", {}, false).reason, "4 of 6 words are in 'en'");
}

TEST(LanguageTest, TagsCodeAndMathAreNotWords) {
  EXPECT_EQ(Share("<think> 所以 </think> <answer> 3 </answer> <|im_end|>", "zh"), 1);
  EXPECT_EQ(Share("所以 ```\nint main() {}\n``` 得", "zh"), 1);
  EXPECT_EQ(Share("所以 `x + y` 得", "zh"), 1);
  EXPECT_EQ(Share("所以 ```\nint main() {", "zh"), 1);  // a block cut off
  EXPECT_EQ(Share("所以 $a + b$ 得 $$ c $$ \\(d\\) \\[ e \\] \\alpha", "zh"), 1);
  EXPECT_EQ(Share("$5 and $6", "en"), 1);  // money, not math
  EXPECT_EQ(Share("a < b 所 > c", "en"), 0.75);
  EXPECT_EQ(Share("123 4.5 + - ，。", "en"), 0);
}

TEST(LanguageTest, LanguagesGoByTheirScripts) {
  EXPECT_EQ(Share("Größe straße", "de"), 1);
  EXPECT_EQ(Share("привет мир hello", "ru"), 2.0 / 3);
  EXPECT_EQ(Share("これは 日本", "ja"), 1);
  EXPECT_EQ(Share("안녕 세계", "ko"), 1);
  EXPECT_EQ(Share("don't", "en"), 1);
}

TEST(LanguageTest, ThinkOnlyCountsTheThinkBlock) {
  EXPECT_EQ(Share("<think> so it is </think> <answer> 所以 </answer>", "en", true), 1);
  EXPECT_EQ(Share("所以 </think> hello", "zh", true), 1);
  EXPECT_EQ(Share("hello", "en", true), 0);
}

TEST(LanguageTest, ClosedVocabulary) {
  const WordLists lists(Words{{"en", {"plus", "is", "hello"}}, {"zh", {"加", "得", "所以"}}});
  const auto share = [&](const char* text, const char* language) {
    return ScoreLanguage(text, language, lists, false).value;
  };
  EXPECT_EQ(share("<think> 1 plus 2 得 3 所以 3 </think>", "en"), 1.0 / 3);
  EXPECT_EQ(share("<think> 1 plus 2 得 3 所以 3 </think>", "zh"), 2.0 / 3);
  EXPECT_EQ(share("1 2 Ann unknown", "en"), 0);
  EXPECT_EQ(share("", "en"), 0);
  EXPECT_FALSE(ScoreLanguage("plus", "fr", lists, false).scored);
}

TEST(LanguageTest, AWordOfSeveralListsCountsOnceAndForEither) {
  const WordLists lists(Words{{"de", {"so", "hand"}}, {"en", {"so", "is"}}});
  const WordCount count = CountWordsByList("so is hand", "en", lists);
  EXPECT_EQ(count.target, 2);
  EXPECT_EQ(count.total, 3);
}

TEST(LanguageTest, WithoutALanguageThereIsNoVerdict) {
  const ComponentScore score = ScoreLanguage("hello", "", {}, false);
  EXPECT_FALSE(score.scored);
  EXPECT_THAT(score.reason, HasSubstr("names no language"));
}

TEST(LanguageTest, HostileTextsTakeLinearTime) {
  for (const char* piece : {"<think>", "<", "`", "``", "```", "$", "$a ", "$ ", "$a 1$1", "$$", "\\(", "\\[", "\\",
                            "`\n", "$a\n", "得", "a", "\xff"}) {
    std::string text;
    while (text.size() < 1 << 20) text += piece;
    ScoreLanguage(text, "en", {}, false);
    ScoreLanguage(text, "en", WordLists(Words{{"en", {"a"}}}), true);
  }
}

}  // namespace
}  // namespace hone::reward
