#include "coordinator/journal/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/crash_point.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/journal/frame.h"
#include "coordinator/journal/segments.h"

namespace hone::coordinator {
namespace {

absl::Status DiskStatus(int error, const std::string& what) {
  const absl::Status status = ErrnoStatus(error, what);
  // A file-size limit is a full disk to whoever has it.
  return error == EFBIG ? absl::ResourceExhaustedError(std::string(status.message())) : status;
}

absl::Status WriteAt(int fd, std::string_view bytes, int64_t offset, const std::string& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = pwrite(fd, bytes.data() + done, bytes.size() - done, offset + static_cast<int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DiskStatus(errno, "write " + path);
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

struct Journal::Impl {
  Options options;

  mutable std::mutex mutex;
  std::condition_variable work;     // the writer waits for records
  std::condition_variable durable;  // callers wait for the writer
  std::string pending;              // frames appended and not yet taken by the writer
  int64_t appended_end = 0;
  int64_t durable_position = 0;
  bool closing = false;
  absl::Status stalled;                     // of the last write, until one succeeds
  std::map<int64_t, std::string> segments;  // path by base

  // The writer thread's own.
  int fd = -1;
  int64_t segment_base = 0;
  std::thread writer;

  ~Impl() {
    if (fd >= 0) close(fd);
  }

  absl::Status OpenSegment(int64_t base);
  absl::Status WriteBatch(std::string_view batch, int64_t begin);
  void Run();
};

// Creates (or opens, at start) the segment that begins at `base`. Its header and its name are durable before it is
// used.
absl::Status Journal::Impl::OpenSegment(int64_t base) {
  const std::string path = SegmentPath(options.directory, base);
  const int opened = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (opened < 0) return DiskStatus(errno, "open " + path);
  struct stat info {};
  absl::Status status = fstat(opened, &info) == 0 ? absl::OkStatus() : DiskStatus(errno, path);
  const bool created = status.ok() && info.st_size < static_cast<off_t>(kSegmentHeaderBytes);
  if (created) {
    status = WriteAt(opened, EncodeSegmentHeader(static_cast<uint64_t>(base)), 0, path);
  }
  // Also where the segment was there: an earlier try may have failed, or died, before its name was durable.
  if (status.ok() && fsync(opened) != 0) status = DiskStatus(errno, "fsync " + path);
  if (created) HONE_CRASH_POINT("journal.new_segment");
  if (status.ok()) status = SyncPath(options.directory);
  if (!status.ok()) {
    close(opened);
    return status;
  }
  if (fd >= 0) close(fd);
  fd = opened;
  segment_base = base;
  const std::lock_guard lock(mutex);
  segments[base] = path;
  return absl::OkStatus();
}

// Writes and fsyncs frames that begin at position `begin`, cutting off whatever an earlier, failed try left there.
absl::Status Journal::Impl::WriteBatch(std::string_view batch, int64_t begin) {
  if (begin - segment_base >= options.segment_bytes) HONE_RETURN_IF_ERROR(OpenSegment(begin));
  const std::string path = SegmentPath(options.directory, segment_base);
  const int64_t offset = static_cast<int64_t>(kSegmentHeaderBytes) + begin - segment_base;
  if (ftruncate(fd, offset) != 0) return DiskStatus(errno, "truncate " + path);
  HONE_RETURN_IF_ERROR(WriteAt(fd, batch, offset, path));
  HONE_CRASH_POINT("journal.before_fsync");
  if (fdatasync(fd) != 0) return DiskStatus(errno, "fsync " + path);
  HONE_CRASH_POINT("journal.after_fsync");
  return absl::OkStatus();
}

void Journal::Impl::Run() {
  std::string batch;  // what is being written; kept until it is durable
  int64_t begin = 0;
  std::unique_lock lock(mutex);
  while (true) {
    if (batch.empty()) {
      work.wait(lock, [&] { return closing || !pending.empty(); });
      if (pending.empty()) return;
      begin = durable_position;
    }
    batch += pending;
    pending.clear();
    lock.unlock();
    const absl::Status status = WriteBatch(batch, begin);
    lock.lock();
    if (status.ok()) {
      if (!stalled.ok()) HONE_INFO << "journal: writes succeed again";
      durable_position = begin + static_cast<int64_t>(batch.size());
      batch.clear();
    } else if (stalled.ok()) {
      HONE_ERROR << "journal: stalled, nothing new is accepted: " << std::string(status.message());
    }
    stalled = status;
    durable.notify_all();
    if (status.ok()) continue;
    if (closing) return;
    work.wait_for(lock, absl::ToChronoNanoseconds(options.retry_interval), [&] { return closing; });
  }
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->writer = std::thread([this] { impl_->Run(); });
}

Journal::~Journal() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  impl_->work.notify_all();
  impl_->writer.join();
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const Options& options, const Visitor& visitor) {
  HONE_RETURN_IF_ERROR(CreateDirectories(options.directory));
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  HONE_ASSIGN_OR_RETURN(const ScannedSegments scanned, ScanSegments(options.directory, visitor));
  impl->segments = scanned.segments;
  impl->appended_end = impl->durable_position = scanned.end;
  HONE_RETURN_IF_ERROR(impl->OpenSegment(scanned.segments.empty() ? 0 : scanned.segments.rbegin()->first));
  // What was read may lie in the page cache only (the process died, not the machine): make it durable before relying on
  // it.
  if (fsync(impl->fd) != 0) return DiskStatus(errno, "fsync " + options.directory);
  return std::unique_ptr<Journal>(new Journal(std::move(impl)));
}

Journal::Span Journal::Append(std::string_view payload) {
  HONE_CHECK(payload.size() <= kMaxPayloadBytes) << "a record of " << payload.size() << " bytes";
  Span span;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->pending += EncodeFrameHeader(payload, static_cast<uint64_t>(impl_->durable_position));
    impl_->pending += payload;
    span.begin = impl_->appended_end;
    impl_->appended_end += static_cast<int64_t>(kFrameHeaderBytes + payload.size());
    span.end = impl_->appended_end;
  }
  impl_->work.notify_one();
  return span;
}

absl::Status Journal::Ready() const {
  const std::lock_guard lock(impl_->mutex);
  if (!impl_->stalled.ok()) return Annotate(impl_->stalled, "journal stalled");
  if (impl_->appended_end - impl_->durable_position > kMaxPendingBytes) {
    return absl::ResourceExhaustedError("journal: more than " + std::to_string(kMaxPendingBytes) +
                                        " bytes wait for the disk");
  }
  return absl::OkStatus();
}

absl::Status Journal::WaitDurable(int64_t end) {
  std::unique_lock lock(impl_->mutex);
  impl_->durable.wait(lock, [&] { return impl_->durable_position >= end || !impl_->stalled.ok(); });
  if (impl_->durable_position >= end) return absl::OkStatus();
  return Annotate(impl_->stalled, "journal stalled");
}

int64_t Journal::WaitBeyond(int64_t position, absl::Duration timeout) {
  std::unique_lock lock(impl_->mutex);
  impl_->durable.wait_for(lock, absl::ToChronoNanoseconds(timeout), [&] { return impl_->durable_position > position; });
  return impl_->durable_position;
}

absl::StatusOr<std::string> Journal::Read(int64_t position, int64_t* end) const {
  std::string path;
  int64_t base = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    HONE_CHECK(position >= 0 && position < impl_->durable_position)
        << "position " << position << " of a journal that ends at " << impl_->durable_position;
    auto segment = impl_->segments.upper_bound(position);
    --segment;
    base = segment->first;
    path = segment->second;
  }
  auto payload = ReadFrame(path, position - base + static_cast<int64_t>(kSegmentHeaderBytes));
  if (payload.ok() && end != nullptr) *end = position + static_cast<int64_t>(kFrameHeaderBytes + payload->size());
  return payload;
}

int64_t Journal::end() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->appended_end;
}

int64_t Journal::durable_end() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->durable_position;
}

}  // namespace hone::coordinator
