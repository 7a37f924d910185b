// The processes of a `hone up`: started, watched, started again when they die, stopped in order.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "base/subprocess.h"

namespace hone::cli {

struct ChildSpec {
  std::string name;               // for logs and messages; unique
  std::vector<std::string> argv;  // without --listen and --address_file, which the supervisor adds
  std::string listen;             // of the first start
  // Started again, it listens at the host of `listen` and the port that it had: others know the address. Else `listen`
  // holds for every start.
  bool keep_address = false;
};

// When a process that died is started again. Pure.
//
// A process that ends by itself at once with the same trouble (a bad flag, a port in use) would do so for ever: after
// kGiveUpAfter such ends in a row, each within kShortLife of its start, it is given up. So would one that crashes
// (SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL), and after as many kills for want of memory, however long it lived: it
// would take as much again. One that was killed from outside is always started again.
class RestartPolicy {
 public:
  static constexpr absl::Duration kShortLife = absl::Seconds(10);
  static constexpr int kGiveUpAfter = 5;
  // Says how long to wait before the next start; infinite = give up. `exit_status` is the exit code, or 128 + signal;
  // `out_of_memory`: the kernel killed it for that.
  absl::Duration OnExit(int exit_status, absl::Duration lived, bool out_of_memory = false);

 private:
  int short_lives_ = 0;     // in a row, of any cause: the back-off grows with them
  int own_short_ends_ = 0;  // in a row, not killed from outside
  int memory_kills_ = 0;    // of all its lives
};

// Thread-safe. Children get SIGTERM from the kernel if this process dies.
class Supervisor {
 public:
  // Logs and address files go to `state_dir`/logs and `state_dir`/addresses, which are made.
  explicit Supervisor(std::string state_dir) : state_dir_(std::move(state_dir)) {}
  ~Supervisor() { StopAll(absl::Seconds(10)); }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Starts a child and waits until it has written its address, which is returned. UNAVAILABLE, with the end of its log,
  // if it dies or does not within `timeout`.
  absl::StatusOr<std::string> Start(const ChildSpec& spec, absl::Duration timeout);

  // From now on, dead children are started again.
  void Watch();

  // Not OK once a child was given up: its name and the end of its log.
  absl::Status status() const;

  // Stops the children, the last started first, each within `grace`. Idempotent.
  void StopAll(absl::Duration grace);

  std::string LogPath(const std::string& name) const;

 private:
  struct Child {
    ChildSpec spec;
    std::unique_ptr<Subprocess> process;
    std::string address;
    RestartPolicy policy;
    absl::Time started;
    int64_t memory_kills = 0;                         // of the machine, when it was started
    absl::Time start_again = absl::InfiniteFuture();  // while it is down
  };

  std::string AddressPath(const std::string& name) const;
  absl::Status Launch(Child* child);
  void Tick(absl::Time now);
  absl::Status Trouble(const std::string& name, const std::string& what) const;

  const std::string state_dir_;
  mutable std::mutex mutex_;
  std::condition_variable stop_changed_;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Child>> children_;
  absl::Status status_;
  std::thread watcher_;
};

// The last `lines` lines of the file at `path`; "" where it cannot be read.
std::string TailOfFile(const std::string& path, int lines);

}  // namespace hone::cli
