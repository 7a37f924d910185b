#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

namespace hone {
namespace fs = std::filesystem;
namespace {

absl::Status FromErrorCode(const std::error_code& ec, std::string_view what) { return ErrnoStatus(ec.value(), what); }

std::string ParentOf(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::string JoinPath(std::string_view a, std::string_view b) { return (fs::path(a) / fs::path(b)).string(); }

bool FileExists(const std::string& path) {
  std::error_code ec;
  return fs::exists(path, ec);
}

bool DirectoryExists(const std::string& path) {
  std::error_code ec;
  return fs::is_directory(path, ec);
}

absl::StatusOr<uint64_t> FileSize(const std::string& path) {
  std::error_code ec;
  const uint64_t size = fs::file_size(path, ec);
  if (ec) return FromErrorCode(ec, path);
  return size;
}

absl::Status CreateDirectories(const std::string& path) {
  if (DirectoryExists(path)) return absl::OkStatus();
  const std::string parent = ParentOf(path);
  if (parent != path) HONE_RETURN_IF_ERROR(CreateDirectories(parent));
  std::error_code ec;
  fs::create_directory(path, ec);
  if (ec) return FromErrorCode(ec, "create directory " + path);
  // What is fsynced in a folder is lost with a folder whose own name is not.
  return SyncPath(parent);
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code ec;
  // Who else removes parts of it meanwhile is no obstacle, and makes an end of it sooner.
  do {
    fs::remove_all(path, ec);
  } while (ec == std::errc::no_such_file_or_directory && FileExists(path));
  if (ec && ec != std::errc::no_such_file_or_directory) return FromErrorCode(ec, "remove " + path);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  std::error_code ec;
  std::vector<std::string> names;
  for (fs::directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec)) {
    names.push_back(it->path().filename().string());
  }
  if (ec) return FromErrorCode(ec, "list " + path);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, path);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, path);
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(path + ": is a directory, expected a file");
  const uint64_t size = static_cast<uint64_t>(std::max<off_t>(info.st_size, 0));
  const auto too_long = [&](uint64_t bytes) {
    return absl::InvalidArgumentError(path + ": " + std::to_string(bytes) + " bytes or more, expected at most " +
                                      std::to_string(max_bytes));
  };
  if (size > max_bytes) return too_long(size);
  std::string contents;
  contents.reserve(size);
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, path);
    if (n == 0) return contents;
    contents.append(buffer, static_cast<size_t>(n));
    if (contents.size() > max_bytes) return too_long(contents.size());  // it grew, or tells no size, as a pipe does
  }
}

absl::Status SyncPath(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, "open for fsync " + path);
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, "fsync " + path);
  return absl::OkStatus();
}

absl::Status RenamePath(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "rename " + from + " to " + to);
  return SyncPath(ParentOf(to));
}

absl::Status WriteFileAtomic(const std::string& path, std::string_view contents) {
  const std::string temporary = path + ".tmp";
  {
    const Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) return ErrnoStatus(errno, "create " + temporary);
    size_t done = 0;
    while (done < contents.size()) {
      const ssize_t n = write(fd.get(), contents.data() + done, contents.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        absl::Status status = ErrnoStatus(errno, "write " + temporary);
        unlink(temporary.c_str());
        return status;
      }
      done += static_cast<size_t>(n);
    }
    if (fsync(fd.get()) != 0) {
      absl::Status status = ErrnoStatus(errno, "fsync " + temporary);
      unlink(temporary.c_str());
      return status;
    }
  }
  if (absl::Status status = RenamePath(temporary, path); !status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, path);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(path + ": not a regular file");
  const size_t size = static_cast<size_t>(info.st_size);
  const void* data = nullptr;
  if (size > 0) {
    data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return ErrnoStatus(errno, "mmap " + path);
  }
  return std::unique_ptr<MappedFile>(new MappedFile(static_cast<const uint8_t*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_);
}

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open lock " + path);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    close(fd);
    if (error == EWOULDBLOCK) return absl::FailedPreconditionError(path + ": held by another process");
    return ErrnoStatus(error, "lock " + path);
  }
  return std::unique_ptr<FileLock>(new FileLock(fd));
}

FileLock::~FileLock() { close(fd_); }

}  // namespace hone
