// Following a run until it ends: live progress for people, a line for each change where nobody looks on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/control_client.h"
#include "hone/v1/control.pb.h"

namespace hone::cli {

// Turns updates into text. Pure but for the time that it is told. Not thread-safe.
class ProgressText {
 public:
  // One line about the stage that is at work: name, step, reward, pass@1, tokens/s, time left.
  std::string Line(const v1::Run& run, absl::Time now);
  // True where something changed that deserves a line of its own in a log: another stage or state, another tenth of the
  // stage's steps.
  bool IsMilestone(const v1::Run& run);

 private:
  std::string rate_stage_;  // stage that the rate is measured in
  int rate_start_ = 0;      // amount done and time at which it was first seen
  int last_done_ = 0;
  absl::Time rate_time_;
  std::string last_milestone_;
};

struct WatchOptions {
  // Broken off when true. May be empty.
  std::function<bool()> cancelled;
  // How long to go on trying while the coordinator cannot be reached.
  absl::Duration patience = absl::Seconds(30);
  bool json = false;   // each update as one line of JSON on stdout, instead of progress on stderr
  bool quiet = false;  // neither
};

// Watches until the run is in a final state and returns it. A coordinator that answers RESOURCE_EXHAUSTED (its disk is
// full) is waited for without limit, and what it says is told once. CANCELLED: broken off.
absl::StatusOr<v1::Run> WatchUntilEnd(ControlClient* client, const std::string& name, const WatchOptions& options);

// kExitOk, kExitFailed or kExitStopped; says on stderr how the run ended.
int ReportEnd(const v1::Run& run);

// The before/after table of <output_dir>/summary.json; "" where there is none.
std::string SummaryTable(const std::string& output_dir);

}  // namespace hone::cli
