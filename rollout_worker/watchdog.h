// Notices that a thread of work has stopped moving.
#pragma once

#include <atomic>
#include <chrono>

#include "absl/time/time.h"
#include "base/logging.h"

namespace hone {

// Thread-safe. `what` is named in the log when it stands still for longer than `limit`, and when it moves again; a
// limit of 0 or below watches nothing.
class Watchdog {
 public:
  Watchdog(const char* what, absl::Duration limit) : what_(what), limit_(absl::ToChronoNanoseconds(limit)) { Moved(); }

  void Moved() { last_move_ = Now(); }

  bool stalled() {
    const std::chrono::nanoseconds age = Now() - last_move_.load();
    const bool stalled = limit_ > std::chrono::nanoseconds::zero() && age > limit_;
    if (stalled != said_.exchange(stalled)) {
      if (stalled) {
        HONE_ERROR << what_ << " has not moved for " << std::chrono::duration_cast<std::chrono::seconds>(age).count()
                   << " s: the coordinator is no longer told that this worker lives, so that others get its groups";
      } else {
        HONE_WARNING << what_ << " moves again";
      }
    }
    return stalled;
  }

 private:
  static std::chrono::nanoseconds Now() { return std::chrono::steady_clock::now().time_since_epoch(); }

  const char* const what_;
  const std::chrono::nanoseconds limit_;
  std::atomic<std::chrono::nanoseconds> last_move_;
  std::atomic<bool> said_{false};
};

}  // namespace hone
