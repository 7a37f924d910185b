// What CreateDirectories makes durable, seen from the system calls.
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "gtest/gtest.h"

namespace {

std::vector<std::string>* synced = nullptr;  // paths, while a test records them

}  // namespace

// In place of the C library's, for this program: notes what is synced, and syncs it.
extern "C" int fsync(int fd) {
  if (synced != nullptr) synced->push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)));
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace hone {
namespace {

std::vector<std::string> SyncedBy(const std::string& path) {
  std::vector<std::string> paths;
  synced = &paths;
  const absl::Status status = CreateDirectories(path);
  synced = nullptr;
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(DirectoryExists(path));
  return paths;
}

TEST(DurableFoldersTest, TheParentOfEachNewFolderIsSynced) {
  const std::string root =
      std::filesystem::canonical(testing::TempDir()).string() + "/durable_folders_" + std::to_string(getpid());
  ASSERT_TRUE(CreateDirectories(root).ok());
  EXPECT_EQ(SyncedBy(root + "/a/b/c"), (std::vector<std::string>{root, root + "/a", root + "/a/b"}));
  EXPECT_EQ(SyncedBy(root + "/a/b/d"), std::vector<std::string>{root + "/a/b"});
  EXPECT_EQ(SyncedBy(root + "/a/b"), std::vector<std::string>{}) << "nothing is new";
  ASSERT_TRUE(CreateDirectories(root + "/e/f/").ok());
  EXPECT_TRUE(DirectoryExists(root + "/e/f"));
  ASSERT_TRUE(WriteFileAtomic(root + "/file", "").ok());
  EXPECT_FALSE(CreateDirectories(root + "/file/below").ok());
  EXPECT_FALSE(CreateDirectories(root + "/file").ok());
  ASSERT_TRUE(RemoveTree(root).ok());
}

TEST(DurableFoldersTest, ARelativeFolderIsMadeHere) {
  const std::string name = "durable_folders_" + std::to_string(getpid());
  EXPECT_EQ(SyncedBy(name), std::vector<std::string>{std::filesystem::current_path().string()});
  ASSERT_TRUE(RemoveTree(name).ok());
}

}  // namespace
}  // namespace hone
