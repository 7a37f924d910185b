#include "model/tokenizer/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  if (!regex.ok()) return {};
  Regex::Scratch scratch(**regex);
  std::vector<TextRange> ranges;
  (*regex)->FindAll(text, &scratch, &ranges);
  std::vector<std::string> matches;
  for (const TextRange& range : ranges) matches.emplace_back(text.substr(range.begin, range.end - range.begin));
  return matches;
}

TEST(RegexTest, FindsSuccessiveMatches) {
  EXPECT_THAT(Matches(R"(\p{N}{1,3})", "1234567 8"), ElementsAre("123", "456", "7", "8"));
  EXPECT_THAT(Matches(R"(\s+(?!\S)|\s+)", "a   b  "), ElementsAre("  ", " ", "  "));
  EXPECT_THAT(Matches("(?i:'s|'t)", "it'S can'T"), ElementsAre("'S", "'T"));
  EXPECT_THAT(Matches("[一-龥]+", "a漢字b"), ElementsAre("漢字"));
  EXPECT_THAT(Matches("x", ""), ElementsAre());
}

TEST(RegexTest, EmptyMatchesDoNotFollowAMatch) {
  EXPECT_THAT(Matches("a*", "aab"), ElementsAre("aa", ""));  // the end; not the empty one at 2
  EXPECT_THAT(Matches("", "é"), ElementsAre("", ""));
}

// Where Oniguruma and PCRE2 understand the same pattern differently, Oniguruma's meaning counts.
TEST(RegexTest, MeansWhatOnigurumaMeans) {
  EXPECT_THAT(Matches(R"(\s)", "\xE1\xA0\x8E"), ElementsAre()) << "U+180E is no white space";
  EXPECT_THAT(Matches(R"(\s)", "\xC2\x85\xC2\xA0\v"), ElementsAre("\xC2\x85", "\xC2\xA0", "\v"));
  EXPECT_THAT(Matches(R"(\v)", "\n\v"), ElementsAre("\v")) << "one character, not a class";
  EXPECT_THAT(Matches(R"(\w+)", "e\xCC\x81_9"), ElementsAre("e\xCC\x81_9")) << "marks are word characters";
  EXPECT_THAT(Matches(R"([\S]+)", "ab\xE2\x80\x8B c"), ElementsAre("ab\xE2\x80\x8B", "c"));
  EXPECT_THAT(Matches("^b", "a\nb"), ElementsAre("b")) << "anchors are those of lines";
  EXPECT_THAT(Matches("a.", "a\na\r"), ElementsAre("a\r"));
  EXPECT_THAT(Matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(Matches("a{x}", "a{x}"), ElementsAre("a{x}"));
  EXPECT_THAT(Matches(R"(\p{^L}\u0041[\x{41}-\x{43}])", "1AC"), ElementsAre("1AC"));
  EXPECT_THAT(Matches(R"([-a\]^])", "-]^b"), ElementsAre("-", "]", "^"));
}

TEST(RegexTest, UnknownConstructsAreRefused) {
  for (const char* pattern :
       {"[a[b]]",    "[a&&b]", "[[:alpha:]]", R"(\h)",         R"(\b)",   R"(\R)", R"(\1)",    R"(\p{Foo})",
        R"(\pL)",    "(?m:.)", "(?<n>a)",     "a{1,2}+",       R"(\xE4)", "[]",    "[a",       "[z-a]",
        R"([\s-a])", "\\",     R"(\x{d800})", R"(\x{110000})", "(?#x)",   R"(\K)", R"(\Qa\E)", R"([a\W])"}) {
    const auto regex = Regex::Compile(pattern);
    ASSERT_FALSE(regex.ok()) << pattern;
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(regex.status().message()), HasSubstr("not supported")) << pattern;
  }
  for (const char* pattern : {"(a", "a)", "*", "(?<=a*)b", "\xff"})
    EXPECT_FALSE(Regex::Compile(pattern).ok()) << pattern;
}

TEST(RegexTest, BacktrackingWithoutEndIsCutOff) {
  EXPECT_LE(Matches("(?:a|a|aa)+b", std::string(2000, 'a')).size(), 1u);
  // More than the JIT's stack: the interpreter takes over and finds it.
  EXPECT_EQ(Matches("(?:a|ab)+c", std::string(100000, 'a') + "c").size(), 1u);
}

}  // namespace
}  // namespace hone::model
