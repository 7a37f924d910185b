// Carries journal records into what a run leaves in its output folder (coordinator/report/).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/core/run_state.h"
#include "hone/v1/journal.pb.h"

namespace hone::coordinator {

class RunReporter;

// A run's reporter is opened at its first record in this life of the process, with every earlier record of the run
// replayed (the reporter skips what it has); so a report loses nothing to a crash. A report that cannot be written (a
// full disk) is logged and never stops the run: it is opened again later in the same way, so it loses nothing to that
// either, and a run that has ended keeps its report here until its summary is written. Not thread-safe.
class Reports {
 public:
  // Visits the journal's durable records in [0, end).
  using Scan = std::function<absl::Status(int64_t end, const std::function<void(const v1::JournalRecord&)>&)>;
  // Seconds that the run has spent RUNNING.
  using RunningSeconds = std::function<double(const std::string& run)>;

  Reports(Scan scan, RunningSeconds running_seconds);
  ~Reports();
  // The next durable record.
  void Handle(const v1::JournalRecord& record, RecordSpan span);
  // At a start: takes up the report of a run that had ended in `state`, in the journal up to `end`, where its folder is
  // there and its summary does not say so: the process went down before that could be written.
  void TakeUp(const std::string& run, const std::string& output_dir, v1::RunState state, int64_t end);
  // Writes summaries that are older than `age` and no longer true, and tries again to open reports that could not be
  // written (after a pause that grows; at once where `age` is zero).
  void Refresh(absl::Duration age);

 private:
  struct RunReport;
  absl::Status Open(const std::string& run, const v1::RunCreated& created, RunReport* report);
  static void CountLosses(const v1::GroupRecorded& e, RunReport* report);
  static absl::Status Feed(const v1::JournalRecord& record, RunReport* report);
  // Replays the run's records up to report->end into a reporter. On failure there is none, and a time to try again.
  void Reopen(const std::string& run, RunReport* report);
  // No rows may follow one that was not written: gives the reporter up until the next Reopen.
  static void GiveUp(const std::string& run, const absl::Status& why, RunReport* report);
  void Write(const std::string& run, RunReport* report);

  const Scan scan_;
  const RunningSeconds running_seconds_;
  std::map<std::string, std::unique_ptr<RunReport>> reports_;
};

}  // namespace hone::coordinator
