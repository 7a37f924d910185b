// Child processes: start with arguments, environment and redirected output; wait, poll, signal. Used by `hone up` and
// tests.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace hone {

struct SubprocessOptions {
  std::vector<std::string> argv;           // argv[0] is the program's path (no PATH look-up)
  std::map<std::string, std::string> env;  // added to the parent's environment
  std::string output_path;                 // stdout and stderr are appended here; "" inherits the parent's
  bool die_with_parent = true;             // the kernel sends SIGTERM when the parent dies
};

// Owns one child. Destruction kills (SIGKILL) and reaps a child that still runs. Not thread-safe.
class Subprocess {
 public:
  static absl::StatusOr<std::unique_ptr<Subprocess>> Start(const SubprocessOptions& options);
  ~Subprocess();
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  pid_t pid() const { return pid_; }
  // Exit status if the child has ended: the exit code, or 128 + signal number. Does not block.
  std::optional<int> Poll();
  // Waits up to `timeout`; nullopt if it still runs.
  std::optional<int> Wait(absl::Duration timeout);
  void Signal(int signal_number);
  // SIGTERM, then SIGKILL after `grace`. Returns the exit status.
  int Stop(absl::Duration grace);
  // Lets go of the child: destruction neither kills nor reaps it. Nothing else may be called afterwards.
  void Disown() { disowned_ = true; }

 private:
  explicit Subprocess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
  std::optional<int> exit_status_;
  bool disowned_ = false;
};

// Directory of the running program's executable.
std::string ExecutableDirectory();

}  // namespace hone
