// A projection of the journal for questions that the core does not answer: metrics by step, samples by stage, and
// whatever people ask the database with their own tools. Never the truth: it can be thrown away and is then made again
// from the journal.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/core/run_state.h"
#include "hone/v1/control.pb.h"
#include "hone/v1/journal.pb.h"

namespace hone::coordinator {

struct StoredRecord {
  v1::JournalRecord record;
  RecordSpan span;
};

struct GroupQuery {
  std::string run;
  std::optional<std::string> stage;
  std::optional<int32_t> step;
  v1::GroupPurpose purpose = v1::GROUP_PURPOSE_UNSPECIFIED;  // UNSPECIFIED: both
  int64_t before = -1;                                       // only groups at lower positions; -1: from the newest
  int32_t limit = 20;
};

struct StoredMetrics {
  int64_t position = 0;
  v1::StepMetrics metrics;
};

// Thread-safe.
class Store {
 public:
  virtual ~Store() = default;
  // The journal position up to which records are in the store.
  virtual absl::StatusOr<int64_t> AppliedPosition() = 0;
  // Records that follow the applied position, in order: all in one transaction with the new position, or none.
  virtual absl::Status ApplyRecords(const std::vector<StoredRecord>& records) = 0;
  // Journal positions of groups with samples, newest first.
  virtual absl::StatusOr<std::vector<int64_t>> ListGroups(const GroupQuery& query) = 0;
  // Metrics of steps and evaluations after journal position `after` (-1: from the first), oldest first.
  virtual absl::StatusOr<std::vector<StoredMetrics>> ListMetrics(const std::string& run,
                                                                 const std::optional<std::string>& stage, int64_t after,
                                                                 int32_t limit) = 0;
};

// A Store in one SQLite file, which readers of other processes may open at any time (write-ahead log). A file that is
// not a database, is damaged, or is of another layout is moved aside to `path`.damaged and begun anew, with a line in
// the log.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);

}  // namespace hone::coordinator
