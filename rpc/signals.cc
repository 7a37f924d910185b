#include "rpc/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/logging.h"

namespace hone {

std::unique_ptr<ShutdownSignal> InstallShutdownSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  HONE_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  const int signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  const int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  HONE_CHECK(signal_fd >= 0 && wake_fd >= 0) << "out of file descriptors";
  return std::unique_ptr<ShutdownSignal>(new ShutdownSignal(signal_fd, wake_fd));
}

ShutdownSignal::~ShutdownSignal() {
  close(signal_fd_);
  close(wake_fd_);
}

void ShutdownSignal::Request() {
  requested_.store(true);
  const uint64_t one = 1;
  // The event is never read, so it wakes every waiter; a full counter (EAGAIN) is as good.
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
}

bool ShutdownSignal::WaitFor(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (!requested_.load()) {
    const absl::Duration left = std::max(end - absl::Now(), absl::ZeroDuration());
    // Capped so that the milliseconds fit an int.
    const int wait_ms = static_cast<int>(absl::ToInt64Milliseconds(std::min(left, absl::Hours(1))));
    pollfd fds[2] = {{signal_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(fds, 2, wait_ms) > 0) {
      signalfd_siginfo info;
      if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
        HONE_INFO << "shutting down on signal " << info.ssi_signo;
        Request();
      }
    } else if (absl::Now() >= end) {
      return requested_.load();
    }
  }
  return true;
}

}  // namespace hone
