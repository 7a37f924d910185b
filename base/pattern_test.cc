#include "base/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using ::testing::HasSubstr;
using Verdict = std::optional<bool>;

TEST(PatternTest, MatchesTheWholeText) {
  const Pattern pattern = Pattern::Compile("a|ab").value();
  EXPECT_EQ(pattern.MatchesWhole("a"), Verdict(true));
  EXPECT_EQ(pattern.MatchesWhole("ab"), Verdict(true));  // though the first branch matches a part
  EXPECT_EQ(pattern.MatchesWhole("abc"), Verdict(false));
  EXPECT_EQ(pattern.MatchesWhole(""), Verdict(false));
  EXPECT_EQ(Pattern::Compile("\\p{Han}+")->MatchesWhole("所以"), Verdict(true));
  EXPECT_EQ(Pattern::Compile(".*")->MatchesWhole("a\nb"), Verdict(true));
}

TEST(PatternTest, BadPatternsAreRefusedWithTheirPlace) {
  const auto bad = Pattern::Compile("a(b");
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("'a(b' does not compile at byte 3"));
  EXPECT_FALSE(Pattern::Compile(std::string(5000, 'a')).ok());
  EXPECT_FALSE(Pattern::Compile("\\C").ok());
}

TEST(PatternTest, WorkIsBounded) {
  EXPECT_EQ(Pattern::Compile("(a+)+b")->MatchesWhole(std::string(5000, 'a')), std::nullopt);
  EXPECT_EQ(Pattern::Compile("a")->MatchesWhole("\xff"), std::nullopt);
}

}  // namespace
}  // namespace hone
