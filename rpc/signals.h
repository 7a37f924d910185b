// Orderly shutdown: SIGTERM and SIGINT become an event that a thread can wait for.
#pragma once

#include <atomic>
#include <memory>

#include "absl/time/time.h"

namespace hone {

// Thread-safe; the event is sticky: once it happened, every wait returns true at once.
class ShutdownSignal {
 public:
  ~ShutdownSignal();
  ShutdownSignal(const ShutdownSignal&) = delete;
  ShutdownSignal& operator=(const ShutdownSignal&) = delete;

  // Waits up to `timeout` (absl::InfiniteDuration() = for ever); true where SIGTERM, SIGINT or Request() came.
  bool WaitFor(absl::Duration timeout);
  // True where it has happened already. Cheap: fit for a `cancelled` callback.
  bool requested() { return requested_.load() || WaitFor(absl::ZeroDuration()); }
  // Makes it happen from inside the process.
  void Request();

 private:
  friend std::unique_ptr<ShutdownSignal> InstallShutdownSignals();
  ShutdownSignal(int signal_fd, int wake_fd) : signal_fd_(signal_fd), wake_fd_(wake_fd) {}
  const int signal_fd_;
  const int wake_fd_;
  std::atomic<bool> requested_{false};
};

// Blocks SIGTERM and SIGINT in the calling thread and those it starts later (so: call it first thing in main) and
// ignores SIGPIPE. Call it once in a process.
std::unique_ptr<ShutdownSignal> InstallShutdownSignals();

}  // namespace hone
