// The supervisor with real processes: shell scripts that behave as Hone's programs do, as far as it can tell.
#include "cli/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/files.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;

// A child that says its address (host:port, with the shell's process id as port), notes what it was told to listen at,
// and then runs `body`.
ChildSpec Script(const std::string& name, const std::string& notes, const std::string& body) {
  ChildSpec spec;
  spec.name = name;
  spec.listen = "127.0.0.1:0";
  spec.argv = {
      "/bin/sh", "-c",
      absl::StrCat("for a in \"$@\"; do case $a in --address_file=*) f=${a#*=};; --listen=*) l=${a#*=};; esac; done; "
                   "echo $$ $l >> ",
                   notes, "; echo 127.0.0.1:$$ > $f; ", body),
      "script"};
  return spec;
}

std::vector<std::string> Lines(const std::string& path) {
  const auto text = ReadFile(path);
  if (!text.ok()) return {};
  return absl::StrSplit(*text, '\n', absl::SkipEmpty());
}

// Waits (for as long as the test may run) until `path` has `count` lines.
std::vector<std::string> AwaitLines(const std::string& path, size_t count) {
  for (;;) {
    std::vector<std::string> lines = Lines(path);
    if (lines.size() >= count) return lines;
    absl::SleepFor(absl::Milliseconds(10));
  }
}

class SupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    state_ = absl::StrCat("supervisor-", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_TRUE(RemoveTree(state_).ok());
    ASSERT_TRUE(CreateDirectories(state_).ok());
    notes_ = state_ + "/notes";
  }
  std::string state_;
  std::string notes_;
};

TEST_F(SupervisorTest, AKilledChildIsStartedAgain) {
  Supervisor supervisor(state_);
  ChildSpec spec = Script("steady", notes_, "exec sleep 1000");
  spec.keep_address = true;
  const auto address = supervisor.Start(spec, absl::Seconds(60));
  ASSERT_TRUE(address.ok()) << address.status();
  supervisor.Watch();
  std::vector<std::string> lines = AwaitLines(notes_, 1);
  const std::vector<std::string> first = absl::StrSplit(lines[0], ' ');
  EXPECT_EQ(*address, "127.0.0.1:" + first[0]);
  EXPECT_EQ(first[1], "127.0.0.1:0");
  ASSERT_EQ(kill(std::stoi(first[0]), SIGKILL), 0);
  lines = AwaitLines(notes_, 2);
  const std::vector<std::string> second = absl::StrSplit(lines[1], ' ');
  EXPECT_NE(second[0], first[0]);
  EXPECT_EQ(second[1], *address) << "it must listen where it listened before";
  EXPECT_TRUE(supervisor.status().ok());
  supervisor.StopAll(absl::Seconds(60));
  EXPECT_NE(kill(std::stoi(second[0]), 0), 0) << "still there after StopAll";
}

TEST_F(SupervisorTest, AChildThatListensEverywhereDoesSoAgainAtItsPort) {
  Supervisor supervisor(state_);
  ChildSpec spec = Script("steady", notes_, "exec sleep 1000");
  spec.listen = "0.0.0.0:0";
  spec.keep_address = true;
  const auto address = supervisor.Start(spec, absl::Seconds(60));
  ASSERT_TRUE(address.ok()) << address.status();
  supervisor.Watch();
  const std::vector<std::string> first = absl::StrSplit(AwaitLines(notes_, 1)[0], ' ');
  ASSERT_EQ(kill(std::stoi(first[0]), SIGKILL), 0);
  const std::vector<std::string> second = absl::StrSplit(AwaitLines(notes_, 2)[1], ' ');
  EXPECT_EQ(second[1], "0.0.0.0:" + first[0]);
}

TEST_F(SupervisorTest, AChildThatDiesAtOnceIsAnErrorWithItsLog) {
  Supervisor supervisor(state_);
  ChildSpec spec;
  spec.name = "broken";
  spec.listen = "127.0.0.1:0";
  spec.argv = {"/bin/sh", "-c", "echo the port is taken; exit 3", "script"};
  const auto address = supervisor.Start(spec, absl::Seconds(60));
  EXPECT_EQ(address.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(address.status().message()), HasSubstr("broken ended with exit code 3"));
  EXPECT_THAT(std::string(address.status().message()), HasSubstr("the port is taken"));
}

TEST_F(SupervisorTest, AMissingProgramIsAnError) {
  Supervisor supervisor(state_);
  ChildSpec spec;
  spec.name = "absent";
  spec.argv = {"/nonexistent/hone-program"};
  EXPECT_EQ(supervisor.Start(spec, absl::Seconds(60)).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SupervisorTest, AChildThatEndsAgainAndAgainIsGivenUp) {
  Supervisor supervisor(state_);
  const auto address = supervisor.Start(Script("restless", notes_, "exit 1"), absl::Seconds(60));
  ASSERT_TRUE(address.ok()) << address.status();
  supervisor.Watch();
  while (supervisor.status().ok()) absl::SleepFor(absl::Milliseconds(20));
  EXPECT_THAT(std::string(supervisor.status().message()), HasSubstr("restless ended with exit code 1 again and again"));
  EXPECT_EQ(Lines(notes_).size(), static_cast<size_t>(RestartPolicy::kGiveUpAfter));
}

TEST(RestartPolicy, KilledChildrenAlwaysComeBack) {
  RestartPolicy policy;
  absl::Duration longest;
  for (int i = 0; i < 100; ++i) {
    const absl::Duration pause = policy.OnExit(128 + SIGKILL, absl::Milliseconds(5));
    ASSERT_NE(pause, absl::InfiniteDuration());
    longest = std::max(longest, pause);
  }
  EXPECT_EQ(longest, absl::Seconds(5)) << "the back-off grows, to a limit";
}

TEST(RestartPolicy, AChildThatCrashesAgainAndAgainIsGivenUp) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    RestartPolicy policy;
    for (int i = 1; i < RestartPolicy::kGiveUpAfter; ++i) {
      ASSERT_NE(policy.OnExit(128 + signal, absl::Milliseconds(5)), absl::InfiniteDuration()) << signal;
    }
    EXPECT_EQ(policy.OnExit(128 + signal, absl::Milliseconds(5)), absl::InfiniteDuration()) << signal;
  }
}

TEST(RestartPolicy, ALongLifeForgivesEverything) {
  RestartPolicy policy;
  for (int i = 0; i < RestartPolicy::kGiveUpAfter - 1; ++i) policy.OnExit(1, absl::Seconds(1));
  EXPECT_EQ(policy.OnExit(1, absl::Minutes(1)), absl::ZeroDuration());
  EXPECT_LT(policy.OnExit(1, absl::Seconds(1)), absl::Seconds(1));
}

TEST(RestartPolicy, AChildThatTakesMoreMemoryThanThereIsIsGivenUpHoweverLongItLives) {
  RestartPolicy policy;
  for (int i = 1; i < RestartPolicy::kGiveUpAfter; ++i) {
    ASSERT_NE(policy.OnExit(128 + SIGKILL, absl::Minutes(20), /*out_of_memory=*/true), absl::InfiniteDuration());
    ASSERT_EQ(policy.OnExit(128 + SIGKILL, absl::Minutes(20)), absl::ZeroDuration());
  }
  EXPECT_EQ(policy.OnExit(128 + SIGKILL, absl::Minutes(20), /*out_of_memory=*/true), absl::InfiniteDuration());
}

TEST(TailOfFile, GivesTheLastLines) {
  ASSERT_TRUE(WriteFileAtomic("tail.txt", "a\nb\nc\n").ok());
  EXPECT_EQ(TailOfFile("tail.txt", 2), "b\nc\n");
  EXPECT_EQ(TailOfFile("tail.txt", 9), "a\nb\nc\n");
  EXPECT_EQ(TailOfFile("absent.txt", 9), "");
}

}  // namespace
}  // namespace hone::cli
