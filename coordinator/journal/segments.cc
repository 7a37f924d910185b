#include "coordinator/journal/segments.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/files.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/journal/frame.h"

namespace hone::coordinator {
namespace {

constexpr std::string_view kPrefix = "journal-";
constexpr std::string_view kSuffix = ".log";

absl::Status Damaged(const std::string& path, size_t offset, const std::string& what) {
  return absl::DataLossError("journal file " + path + ", offset " + std::to_string(offset) + ": " + what);
}

// Whether a later frame proves that the bytes at `position` were durable once: it was appended after that was known.
bool ProvenDurable(std::string_view bytes, size_t offset, int64_t position) {
  static const std::string marker = [] {
    std::string text;
    for (int i = 0; i < 4; ++i) text.push_back(static_cast<char>(kFrameMarker >> (8 * i) & 0xff));
    return text;
  }();
  for (size_t at = bytes.find(marker, offset + 1); at != std::string_view::npos; at = bytes.find(marker, at + 1)) {
    const auto frame = DecodeFrame(bytes.substr(at));
    if (frame.has_value() && frame->synced > static_cast<uint64_t>(position)) return true;
  }
  return false;
}

absl::Status Truncate(const std::string& path, size_t size) {
  if (truncate(path.c_str(), static_cast<off_t>(size)) != 0) return ErrnoStatus(errno, "truncate " + path);
  return SyncPath(path);
}

// Reads one segment; `*end` is the position after its last whole frame.
absl::Status ScanSegment(const std::string& path, int64_t base, bool last, const Journal::Visitor& visitor,
                         int64_t* end) {
  size_t good_size = 0;
  size_t total_size = 0;
  {
    HONE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
    const std::string_view bytes = file->view();
    total_size = bytes.size();
    *end = base;
    const auto header = DecodeSegmentHeader(bytes);
    if (!header.has_value() || *header != static_cast<uint64_t>(base)) {
      // A crash may leave the newest segment without its whole header; it then holds nothing.
      if (!last || bytes.size() > kSegmentHeaderBytes) {
        return Damaged(path, 0, "expected the header of a segment that begins at position " + std::to_string(base));
      }
    } else {
      good_size = kSegmentHeaderBytes;
      while (good_size < bytes.size()) {
        const auto frame = DecodeFrame(bytes.substr(good_size));
        if (!frame.has_value()) break;
        const Journal::Span span{*end, *end + static_cast<int64_t>(frame->size)};
        HONE_RETURN_IF_ERROR(visitor(frame->payload, span));
        *end = span.end;
        good_size += frame->size;
      }
      if (good_size < bytes.size() && (!last || ProvenDurable(bytes, good_size, *end))) {
        return Damaged(path, good_size,
                       "a durable record is damaged (position " + std::to_string(*end) +
                           "); the journal is not used further, restore the file from a copy");
      }
    }
  }
  if (good_size == total_size) return absl::OkStatus();
  HONE_WARNING << "journal file " << path << ": " << total_size - good_size << " bytes after offset " << good_size
               << " were never acknowledged (torn by a crash) and are cut off";
  return Truncate(path, good_size);
}

}  // namespace

std::string SegmentPath(const std::string& directory, int64_t base) {
  char name[64];
  std::snprintf(name, sizeof(name), "journal-%020lld.log", static_cast<long long>(base));
  return JoinPath(directory, name);
}

absl::StatusOr<ScannedSegments> ScanSegments(const std::string& directory, const Journal::Visitor& visitor) {
  ScannedSegments result;
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory));
  for (const std::string& name : names) {
    const std::string_view view = name;
    if (!view.starts_with(kPrefix) || !view.ends_with(kSuffix)) continue;
    const std::string digits(view.substr(kPrefix.size(), view.size() - kPrefix.size() - kSuffix.size()));
    if (digits.size() != 20 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    result.segments[std::strtoll(digits.c_str(), nullptr, 10)] = JoinPath(directory, name);
  }
  for (auto it = result.segments.begin(); it != result.segments.end(); ++it) {
    const auto& [base, path] = *it;
    if (base != result.end) {
      return absl::DataLossError("journal file " + path + ": expected a segment that begins at position " +
                                 std::to_string(result.end) + "; it is missing or shortened");
    }
    HONE_RETURN_IF_ERROR(ScanSegment(path, base, std::next(it) == result.segments.end(), visitor, &result.end));
  }
  return result;
}

absl::StatusOr<std::string> ReadFrame(const std::string& path, int64_t offset) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, path);
  const auto read_exactly = [&](char* out, size_t size, int64_t at) {
    size_t done = 0;
    while (done < size) {
      const ssize_t n = pread(fd, out + done, size - done, at + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      done += static_cast<size_t>(n);
    }
    return true;
  };
  std::string bytes(kFrameHeaderBytes, '\0');
  bool whole = read_exactly(bytes.data(), bytes.size(), offset);
  if (whole) {
    uint32_t length = 0;
    for (int i = 0; i < 4; ++i) length |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[4 + i])) << (8 * i);
    whole = length <= kMaxPayloadBytes;
    if (whole) {
      bytes.resize(kFrameHeaderBytes + length);
      whole = read_exactly(bytes.data() + kFrameHeaderBytes, length, offset + static_cast<int64_t>(kFrameHeaderBytes));
    }
  }
  close(fd);
  const auto frame = whole ? DecodeFrame(bytes) : std::nullopt;
  if (!frame.has_value()) return Damaged(path, static_cast<size_t>(offset), "a durable record is damaged");
  return std::string(frame->payload);
}

}  // namespace hone::coordinator
