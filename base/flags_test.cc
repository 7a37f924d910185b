#include "base/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/logging.h"

namespace hone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct FlagsTest : ::testing::Test {
  FlagsTest() : flags("prog", "Does a thing.") {
    flags.Add("listen", &listen, "address to serve at");
    flags.Add("threads", &threads, "worker threads");
    flags.Add("limit", &limit, "bytes");
    flags.Add("verbose", &verbose, "say more");
    flags.Add("rate", &rate, "per second");
    flags.Add("set", &sets, "override");
  }
  absl::Status Parse(std::vector<const char*> args) {
    args.insert(args.begin(), "prog");
    return flags.Parse(static_cast<int>(args.size()), args.data());
  }
  std::string listen = "127.0.0.1:0";
  int threads = 2;
  int64_t limit = 0;
  bool verbose = false;
  double rate = 0.5;
  std::vector<std::string> sets;
  FlagParser flags;
};

TEST_F(FlagsTest, BothSpellingsOfAValue) {
  ASSERT_TRUE(Parse({"--listen=[::1]:80", "--threads", "-7", "--rate=1e-3", "--limit", "5000000000"}).ok());
  EXPECT_EQ(listen, "[::1]:80");
  EXPECT_EQ(threads, -7);
  EXPECT_EQ(rate, 1e-3);
  EXPECT_EQ(limit, 5000000000);
}

TEST_F(FlagsTest, Booleans) {
  ASSERT_TRUE(Parse({"--verbose"}).ok());
  EXPECT_TRUE(verbose);
  ASSERT_TRUE(Parse({"--noverbose"}).ok());
  EXPECT_FALSE(verbose);
  ASSERT_TRUE(Parse({"--verbose=yes"}).ok());
  EXPECT_TRUE(verbose);
  ASSERT_TRUE(Parse({"--verbose=false"}).ok());
  EXPECT_FALSE(verbose);
  EXPECT_THAT(std::string(Parse({"--verbose=maybe"}).message()),
              HasSubstr("--verbose: expected true or false, got 'maybe'"));
}

TEST_F(FlagsTest, RepeatedFlagKeepsOrderAndEqualsSigns) {
  ASSERT_TRUE(Parse({"--set", "a.b=1", "--set=c=d=e"}).ok());
  EXPECT_THAT(sets, ElementsAre("a.b=1", "c=d=e"));
}

TEST_F(FlagsTest, UnknownFlagGetsTheNearestName) {
  const absl::Status status = Parse({"--listne=x"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("unknown flag --listne; did you mean --listen?"));
  EXPECT_THAT(std::string(Parse({"--zzzzzzzz"}).message()), ::testing::Not(HasSubstr("did you mean")));
}

TEST_F(FlagsTest, IllTypedMissingAndStrayValuesNameTheFlag) {
  EXPECT_THAT(std::string(Parse({"--threads=two"}).message()), HasSubstr("--threads: expected an integer, got 'two'"));
  EXPECT_THAT(std::string(Parse({"--threads=99999999999"}).message()), HasSubstr("--threads"));
  EXPECT_THAT(std::string(Parse({"--rate"}).message()), HasSubstr("--rate: a value is missing"));
  EXPECT_THAT(std::string(Parse({"stray"}).message()), HasSubstr("got 'stray'"));
}

TEST_F(FlagsTest, PositionalArguments) {
  std::vector<std::string> files;
  flags.AllowPositional(&files, "FILE");
  ASSERT_TRUE(Parse({"one", "--threads", "3", "-", "--", "--listen"}).ok());
  EXPECT_THAT(files, ElementsAre("one", "-", "--listen"));
  EXPECT_THAT(flags.Help(), HasSubstr("Usage: prog [flags] FILE"));
}

TEST_F(FlagsTest, LogLevelIsApplied) {
  flags.AddLogLevel();
  ASSERT_TRUE(Parse({"--log_level=error"}).ok());
  EXPECT_FALSE(LogEnabled(LogLevel::kWarning));
  ASSERT_TRUE(Parse({"--log_level=info"}).ok());
  EXPECT_TRUE(LogEnabled(LogLevel::kInfo));
  EXPECT_THAT(std::string(Parse({"--log_level=loud"}).message()),
              HasSubstr("--log_level: expected debug, info, warning or error"));
}

TEST_F(FlagsTest, HelpIsDistinctAndShowsDefaults) {
  const absl::Status status = Parse({"--help"});
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(FlagParser::Exit(status), 0);
  EXPECT_EQ(FlagParser::Exit(absl::InvalidArgumentError("x")), 2);
  EXPECT_THAT(flags.Help(), HasSubstr("--listen VALUE   address to serve at (default: 127.0.0.1:0)"));
  EXPECT_THAT(flags.Help(), HasSubstr("--threads N      worker threads (default: 2)"));
}

}  // namespace
}  // namespace hone
