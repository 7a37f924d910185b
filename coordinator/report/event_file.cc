#include "coordinator/report/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/files.h"

namespace hone::coordinator {
namespace {

template <typename T>
void PutFixed(T value, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Wire types of protobuf fields.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void PutTag(int field, WireType type, std::string* out) { PutVarint(static_cast<uint64_t>(field) << 3 | type, out); }

void PutBytes(int field, std::string_view bytes, std::string* out) {
  PutTag(field, kBytes, out);
  PutVarint(bytes.size(), out);
  out->append(bytes);
}

void PutWallTime(double wall_time, std::string* out) {
  PutTag(1, kFixed64, out);
  PutFixed(std::bit_cast<uint64_t>(wall_time), out);
}

std::string HostName() {
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') return "localhost";
  return host;
}

}  // namespace

std::string TfRecordFrame(std::string_view data) {
  std::string frame;
  PutFixed(static_cast<uint64_t>(data.size()), &frame);
  PutFixed(MaskedCrc32c(frame), &frame);
  frame.append(data);
  PutFixed(MaskedCrc32c(data), &frame);
  return frame;
}

std::string ScalarsEvent(double wall_time, int64_t step, const std::string& prefix, const MetricMap& scalars) {
  std::string summary;
  for (const auto& [name, number] : scalars) {
    std::string value;
    PutBytes(1, prefix + name, &value);
    PutTag(2, kFixed32, &value);
    PutFixed(std::bit_cast<uint32_t>(static_cast<float>(number)), &value);
    PutBytes(1, value, &summary);
  }
  std::string event;
  PutWallTime(wall_time, &event);
  PutTag(2, kVarint, &event);
  PutVarint(static_cast<uint64_t>(step), &event);
  PutBytes(5, summary, &event);
  return event;
}

absl::StatusOr<std::unique_ptr<EventFileWriter>> EventFileWriter::Create(const std::string& folder, absl::Time now,
                                                                         const std::vector<std::string>& events) {
  HONE_RETURN_IF_ERROR(CreateDirectories(folder));
  std::string version;
  PutWallTime(absl::ToDoubleSeconds(now - absl::UnixEpoch()), &version);
  PutBytes(3, "brain.Event:2", &version);
  std::string contents = TfRecordFrame(version);
  for (const std::string& event : events) contents += TfRecordFrame(event);
  const std::string path =
      JoinPath(folder, absl::StrCat("events.out.tfevents.", absl::ToUnixSeconds(now), ".", HostName()));
  HONE_RETURN_IF_ERROR(WriteFileAtomic(path, contents));
  return std::unique_ptr<EventFileWriter>(new EventFileWriter(path));
}

absl::Status EventFileWriter::Write(std::string_view event) { return AppendToFile(path_, TfRecordFrame(event)); }

absl::Status AppendToFile(const std::string& path, std::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  const off_t before = lseek(fd, 0, SEEK_END);
  absl::Status status;
  while (!bytes.empty() && status.ok()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) {
      status = ErrnoStatus(errno, "append to " + path);
      if (before < 0 || ftruncate(fd, before) != 0) status = Annotate(status, "a partial record was left");
    } else if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  if (close(fd) != 0 && status.ok()) status = ErrnoStatus(errno, "close " + path);
  return status;
}

}  // namespace hone::coordinator
