// Files: whole-file reads, durable atomic writes, memory maps, advisory locks. All paths are UTF-8 std::string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone {

std::string JoinPath(std::string_view a, std::string_view b);
bool FileExists(const std::string& path);  // regular file or anything else that stat finds
bool DirectoryExists(const std::string& path);
absl::StatusOr<uint64_t> FileSize(const std::string& path);
// Creates `path` and its parents, durably; existing directories are fine.
absl::Status CreateDirectories(const std::string& path);
absl::Status RemoveTree(const std::string& path);  // a missing tree is fine
// Names (not paths) in `path`, sorted.
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);

// INVALID_ARGUMENT, before memory is asked for, where the file is longer than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes = UINT64_MAX);
// Atomic and durable: writes `path`.tmp, fsyncs it, renames it over `path`, fsyncs the directory. On failure `path` is
// untouched and the temporary file is removed.
absl::Status WriteFileAtomic(const std::string& path, std::string_view contents);
// fsync of a file or directory by path.
absl::Status SyncPath(const std::string& path);
absl::Status RenamePath(const std::string& from, const std::string& to);  // and fsyncs the target's directory

// A read-only memory map of a whole file. Movable by unique_ptr only; the bytes live as long as the object.
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  MappedFile(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  const uint8_t* data_;
  size_t size_;
};

// An exclusive advisory lock on `path` (created if absent), held until destruction; the kernel frees it when the
// process dies. FAILED_PRECONDITION if another process holds it.
class FileLock {
 public:
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace hone
