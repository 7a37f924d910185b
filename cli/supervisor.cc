#include "cli/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "cli/output.h"

namespace hone::cli {
namespace {

constexpr int kFirstSignalStatus = 128;  // Subprocess: 128 + signal number
constexpr int kLogLinesShown = 12;

std::string DescribeExit(int status) {
  return status > kFirstSignalStatus ? absl::StrCat("was killed by signal ", status - kFirstSignalStatus)
                                     : absl::StrCat("ended with exit code ", status);
}

// True where the process ended by itself: an exit code, or a signal that a process's own faults raise.
bool IsOwnEnd(int status) {
  switch (status - kFirstSignalStatus) {
    case SIGABRT:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
      return true;
    default:
      return status <= kFirstSignalStatus;
  }
}

// Processes that the kernel has killed for want of memory since it came up; 0 where it does not say.
int64_t MemoryKills() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/vmstat");
  int64_t kills = 0;
  for (const absl::string_view line : absl::StrSplit(text.value_or(""), '\n')) {
    if (absl::StartsWith(line, "oom_kill ") && absl::SimpleAtoi(line.substr(sizeof("oom_kill ") - 1), &kills)) break;
  }
  return kills;
}

// The host of `listen` with the port of `address`: a host such as 0.0.0.0 is not the one that the address names.
std::string SamePort(const std::string& listen, const std::string& address) {
  return listen.substr(0, listen.rfind(':')) + address.substr(address.rfind(':'));
}

}  // namespace

absl::Duration RestartPolicy::OnExit(int exit_status, absl::Duration lived, bool out_of_memory) {
  memory_kills_ += out_of_memory;
  if (memory_kills_ >= kGiveUpAfter) return absl::InfiniteDuration();
  const bool short_life = lived < kShortLife;
  short_lives_ = short_life ? short_lives_ + 1 : 0;
  own_short_ends_ = short_life && IsOwnEnd(exit_status) ? own_short_ends_ + 1 : 0;
  if (own_short_ends_ >= kGiveUpAfter) return absl::InfiniteDuration();
  if (short_lives_ == 0) return absl::ZeroDuration();
  constexpr absl::Duration kFirst = absl::Milliseconds(100);
  constexpr absl::Duration kLongest = absl::Seconds(5);
  return std::min(kLongest, kFirst * (1 << std::min(short_lives_ - 1, 8)));
}

std::string TailOfFile(const std::string& path, int lines) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return "";
  size_t begin = text->size();
  for (int n = 0; begin > 0; --begin) {
    if ((*text)[begin - 1] == '\n' && begin < text->size() && ++n == lines) break;
  }
  return text->substr(begin);
}

std::string Supervisor::LogPath(const std::string& name) const {
  return JoinPath(JoinPath(state_dir_, "logs"), name + ".log");
}
std::string Supervisor::AddressPath(const std::string& name) const {
  return JoinPath(JoinPath(state_dir_, "addresses"), name);
}

absl::Status Supervisor::Trouble(const std::string& name, const std::string& what) const {
  const std::string log = LogPath(name);
  return absl::UnavailableError(
      absl::StrCat(name, " ", what, "; the end of ", log, ":\n", TailOfFile(log, kLogLinesShown)));
}

absl::Status Supervisor::Launch(Child* child) {
  HONE_RETURN_IF_ERROR(CreateDirectories(JoinPath(state_dir_, "logs")));
  HONE_RETURN_IF_ERROR(CreateDirectories(JoinPath(state_dir_, "addresses")));
  const std::string address_file = AddressPath(child->spec.name);
  unlink(address_file.c_str());  // an address from before would be taken for the new one
  SubprocessOptions options;
  options.argv = child->spec.argv;
  const bool again = child->spec.keep_address && !child->address.empty();
  options.argv.push_back("--listen=" + (again ? SamePort(child->spec.listen, child->address) : child->spec.listen));
  options.argv.push_back("--address_file=" + address_file);
  options.output_path = LogPath(child->spec.name);
  child->started = absl::Now();
  child->memory_kills = MemoryKills();
  child->start_again = absl::InfiniteFuture();
  HONE_ASSIGN_OR_RETURN(child->process, Subprocess::Start(options));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Supervisor::Start(const ChildSpec& spec, absl::Duration timeout) {
  auto child = std::make_unique<Child>();
  child->spec = spec;
  HONE_RETURN_IF_ERROR(Launch(child.get()));
  const absl::Time deadline = absl::Now() + timeout;
  const std::string address_file = AddressPath(spec.name);
  for (;;) {
    if (absl::StatusOr<std::string> address = ReadFile(address_file); address.ok() && !address->empty()) {
      child->address = std::string(absl::StripAsciiWhitespace(*address));
      break;
    }
    if (const std::optional<int> exit = child->process->Poll()) return Trouble(spec.name, DescribeExit(*exit));
    if (absl::Now() > deadline) {
      return Trouble(spec.name, absl::StrCat("did not say its address within ", ShortDuration(timeout)));
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  const std::string address = child->address;
  std::lock_guard lock(mutex_);
  children_.push_back(std::move(child));
  return address;
}

void Supervisor::Watch() {
  std::lock_guard lock(mutex_);
  if (watcher_.joinable() || stopping_) return;
  watcher_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    // 20 ms: a killed process is back before anybody notices, at no cost worth measuring.
    while (!stop_changed_.wait_for(lock, std::chrono::milliseconds(20), [this] { return stopping_; }))
      Tick(absl::Now());
  });
}

void Supervisor::Tick(absl::Time now) {
  for (const auto& child : children_) {
    if (child->process != nullptr) {
      const std::optional<int> exit = child->process->Poll();
      if (!exit.has_value()) continue;
      child->process.reset();
      const bool out_of_memory = *exit == kFirstSignalStatus + SIGKILL && MemoryKills() > child->memory_kills;
      const absl::Duration pause = child->policy.OnExit(*exit, now - child->started, out_of_memory);
      const std::string what =
          DescribeExit(*exit) +
          (out_of_memory ? " (for want of memory: `hone run FILE --dry-run` plans it and names what to change)" : "");
      if (pause == absl::InfiniteDuration()) {
        if (status_.ok()) status_ = Trouble(child->spec.name, what + " again and again");
        continue;
      }
      Note(absl::StrCat(child->spec.name, " ", what, "; it is started again"));
      child->start_again = now + pause;
    }
    if (now >= child->start_again) {
      if (absl::Status launched = Launch(child.get()); !launched.ok() && status_.ok()) status_ = launched;
    }
  }
}

absl::Status Supervisor::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Supervisor::StopAll(absl::Duration grace) {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  std::lock_guard lock(mutex_);
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if ((*child)->process != nullptr) (*child)->process->Stop(grace);
    unlink(AddressPath((*child)->spec.name).c_str());
  }
  children_.clear();
}

}  // namespace hone::cli
