// The append-only log that is the coordinator's truth: framed, checksummed, fsynced, in segments.
//
// A record's position is the number of frame bytes before it, over all segments; positions only rise. Segment files are
// named by the position they begin at. Nothing is ever rewritten or removed.
//
// Append queues a record and says where it will lie; one writer thread writes what is queued and fsyncs it, so that
// many callers share one fsync; WaitDurable returns once a position is safe. A crash loses at most what nobody was told
// is durable.
//
// A write or fsync that fails (a full disk) stalls the journal: what is queued is kept in memory and tried again every
// `retry_interval`, from the last durable byte; meanwhile WaitDurable and Append fail. When space is there again all
// goes on.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hone::coordinator {

class Journal {
 public:
  // Queued and not durable bytes beyond this are refused.
  static constexpr int64_t kMaxPendingBytes = 256 << 20;

  struct Options {
    std::string directory;
    int64_t segment_bytes = 64 << 20;  // a new segment begins once the last one holds so many
    absl::Duration retry_interval = absl::Seconds(1);
  };
  struct Span {
    int64_t begin = 0;
    int64_t end = 0;
  };
  // Called with each record in order; an error ends Open with it.
  using Visitor = std::function<absl::Status(std::string_view payload, Span span)>;

  // Reads every record, then is ready to append. The end of the last segment may be torn by a crash: frames that were
  // never durable are cut off, with a line in the log. DATA_LOSS names file and offset where a durable frame is damaged
  // or a segment is missing; nothing is changed then.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const Options& options, const Visitor& visitor);
  // Writes what is queued, if it can.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Records must fit in kMaxPayloadBytes (frame.h). Never blocks on the disk and never fails: ask Ready first.
  Span Append(std::string_view payload);
  // Whether new records are welcome: the status of the last write where the journal is stalled (RESOURCE_EXHAUSTED for
  // a full disk), RESOURCE_EXHAUSTED where too much is queued.
  absl::Status Ready() const;
  // Returns once everything before `end` is durable. The error of Ready where the journal stalls: the record may still
  // become durable later.
  absl::Status WaitDurable(int64_t end);
  // Waits up to `timeout` for durable records after `position`; the durable end then.
  int64_t WaitBeyond(int64_t position, absl::Duration timeout);
  // The record that begins at `position`, which must be durable. DATA_LOSS where its frame is damaged. `end`, if given,
  // becomes the position after it.
  absl::StatusOr<std::string> Read(int64_t position, int64_t* end = nullptr) const;

  int64_t end() const;  // of what is appended
  int64_t durable_end() const;

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::coordinator
