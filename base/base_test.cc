#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/crc32c.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/utf8.h"
#include "gtest/gtest.h"

namespace hone {
namespace {

TEST(Crc32cTest, KnownVectors) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);              // check value of the CRC catalogue
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);    // RFC 3720 B.4
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);  // RFC 3720 B.4
}

TEST(Crc32cTest, ContinuesAcrossPieces) { EXPECT_EQ(Crc32c("456789", Crc32c("123")), Crc32c("123456789")); }

TEST(Sha256Test, KnownVector) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(StringsTest, Utf8) {
  EXPECT_TRUE(IsValidUtf8("plain, 中文, \xF0\x9F\x98\x80"));
  EXPECT_FALSE(IsValidUtf8("\xC0\xAF"));          // overlong
  EXPECT_FALSE(IsValidUtf8("\xED\xA0\x80"));      // surrogate
  EXPECT_FALSE(IsValidUtf8("\xF4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT_FALSE(IsValidUtf8("\xE4\xB8"));          // cut off
}

TEST(StringsTest, MendUtf8ReplacesOnlyWhatIsIllFormed) {
  EXPECT_EQ(MendUtf8(""), "");
  EXPECT_EQ(MendUtf8("plain, 中文, \xF0\x9F\x98\x80"), "plain, 中文, \xF0\x9F\x98\x80");
  EXPECT_EQ(MendUtf8("caf\xE9!"), "caf\xEF\xBF\xBD!");
  EXPECT_EQ(MendUtf8("\xE4\xB8"), "\xEF\xBF\xBD\xEF\xBF\xBD");  // a character cut off: one for each byte
}

TEST(Utf8Test, CodePoints) {
  const std::string text = "aé得\U00020000\xff\xe5\x8a";
  size_t at = 0;
  for (const char32_t expected : {U'a', U'é', U'得', U'\U00020000', U'\uFFFD', U'\uFFFD', U'\uFFFD'}) {
    EXPECT_EQ(NextCodePoint(text, &at), expected);
  }
  EXPECT_EQ(at, text.size());
}

TEST(Utf8Test, APrefixEndsBetweenCharacters) {
  EXPECT_EQ(Utf8Prefix("aé得", 6), "aé得");
  EXPECT_EQ(Utf8Prefix("aé得", 5), "aé");
  EXPECT_EQ(Utf8Prefix("aé得", 3), "aé");
  EXPECT_EQ(Utf8Prefix("aé得", 2), "a");
  EXPECT_EQ(Utf8Prefix("得", 2), "");
}

TEST(StringsTest, NearestNameSuggestsOnlyLikelyTypos) {
  EXPECT_EQ(NearestName("temperatur", {"top_p", "temperature"}), "temperature");
  EXPECT_EQ(NearestName("group_szie", {"group_size", "steps"}), "group_size");
  EXPECT_EQ(NearestName("banana", {"group_size", "steps"}), "");
}

TEST(FilesTest, AtomicWriteReplacesAndLeavesNoTemporary) {
  const std::string dir = testing::TempDir() + "/files_test_" + std::to_string(getpid());
  ASSERT_TRUE(CreateDirectories(dir).ok());
  const std::string path = dir + "/a";
  ASSERT_TRUE(WriteFileAtomic(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two").ok());
  EXPECT_EQ(*ReadFile(path), "two");
  EXPECT_EQ(*ReadFile(path, 3), "two");
  EXPECT_EQ(ReadFile(path, 2).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFile("/proc/self/status", 10).status().code(), absl::StatusCode::kInvalidArgument) << "tells no size";
  EXPECT_EQ(*ListDirectory(dir), std::vector<std::string>{"a"});
  EXPECT_EQ(ReadFile(dir + "/b").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(RemoveTree(dir).ok());
}

TEST(FilesTest, ATreeIsRemovedBySeveralAtOnce) {
  const std::string dir = testing::TempDir() + "/remove_test_" + std::to_string(getpid());
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 50; ++i) std::filesystem::create_directories(dir + "/" + std::to_string(i));
    std::vector<std::thread> removers;
    for (int i = 0; i < 3; ++i) {
      removers.emplace_back([&] {
        const absl::Status status = RemoveTree(dir);
        EXPECT_TRUE(status.ok()) << status;
      });
    }
    for (std::thread& remover : removers) remover.join();
    EXPECT_FALSE(FileExists(dir));
  }
}

TEST(FilesTest, FullDiskIsReportedAndLeavesNothing) {
  if (!FileExists("/dev/full")) GTEST_SKIP();
  // /dev/full accepts open and refuses writes; the temporary path beside it cannot be made there, so write through a
  // link.
  const std::string dir = testing::TempDir() + "/full_test_" + std::to_string(getpid());
  ASSERT_TRUE(CreateDirectories(dir).ok());
  ASSERT_EQ(symlink("/dev/full", (dir + "/a.tmp").c_str()), 0);
  EXPECT_EQ(WriteFileAtomic(dir + "/a", "contents").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(FileExists(dir + "/a"));
  ASSERT_TRUE(RemoveTree(dir).ok());
}

TEST(FilesTest, SecondLockIsRefused) {
  const std::string path = testing::TempDir() + "/lock_test_" + std::to_string(getpid());
  auto first = FileLock::Acquire(path);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(FileLock::Acquire(path).status().code(), absl::StatusCode::kFailedPrecondition);
  first->reset();
  EXPECT_TRUE(FileLock::Acquire(path).ok());
  unlink(path.c_str());
}

TEST(SubprocessTest, ExitCodesAndMissingPrograms) {
  auto child = Subprocess::Start({.argv = {"/bin/sh", "-c", "exit 3"}});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ((*child)->Wait(absl::Seconds(30)), 3);
  EXPECT_EQ(Subprocess::Start({.argv = {"/no/such/program"}}).status().code(), absl::StatusCode::kNotFound);
  auto sleeper = Subprocess::Start({.argv = {"/bin/sleep", "100"}});
  ASSERT_TRUE(sleeper.ok());
  EXPECT_EQ((*sleeper)->Stop(absl::Seconds(30)), 128 + SIGTERM);
}

TEST(SubprocessTest, ADisownedChildLivesOn) {
  pid_t pid = 0;
  {
    auto child = Subprocess::Start({.argv = {"/bin/sleep", "100"}});
    ASSERT_TRUE(child.ok());
    pid = (*child)->pid();
    (*child)->Disown();
  }
  EXPECT_EQ(kill(pid, 0), 0);
  EXPECT_EQ(kill(pid, SIGKILL), 0);
}

}  // namespace
}  // namespace hone
