// `hone up`: all processes on this machine, and perhaps one run.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/control_client.h"
#include "cli/exit_codes.h"
#include "cli/model_folder.h"
#include "cli/output.h"
#include "cli/run_file.h"
#include "cli/supervisor.h"
#include "cli/watch.h"
#include "cli/worker_flags.h"
#include "coordinator/run_config/schema_words.h"
#include "rpc/signals.h"

namespace hone::cli {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(60);
constexpr absl::Duration kMembersTimeout = absl::Seconds(60);
constexpr absl::Duration kStopGrace = absl::Seconds(20);
// Set for the `hone up` in the background: it has a session of its own, the terminal's Ctrl-C and hang-up are not for
// it.
constexpr const char* kDetachedEnv = "HONE_UP_DETACHED";

struct UpOptions {
  std::string state = kDefaultState;
  std::string listen = "127.0.0.1:0";
  std::string run_file;
  std::vector<std::string> overrides;
  int rollout_workers = 1;
  int threads = 0;
  bool exit = false;
  bool detach = false;
  Worker::Options worker;  // the flags that each rollout worker gets
  std::string log_level;
};

// A file that is there while the object lives.
class FileWhileAlive {
 public:
  static absl::StatusOr<std::unique_ptr<FileWhileAlive>> Create(const std::string& path, const std::string& contents) {
    HONE_RETURN_IF_ERROR(WriteFileAtomic(path, contents));
    return std::unique_ptr<FileWhileAlive>(new FileWhileAlive(path));
  }
  ~FileWhileAlive() { unlink(path_.c_str()); }

 private:
  explicit FileWhileAlive(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

ChildSpec MakeChild(const UpOptions& options, const std::string& name, const std::string& program,
                    const std::vector<std::string>& flags) {
  ChildSpec spec;
  spec.name = name;
  spec.argv = {JoinPath(ExecutableDirectory(), program)};
  spec.argv.insert(spec.argv.end(), flags.begin(), flags.end());
  if (!options.log_level.empty()) spec.argv.push_back("--log_level=" + options.log_level);
  spec.listen = options.listen.substr(0, options.listen.rfind(':')) + ":0";
  return spec;
}

// Starts the coordinator, then all others; returns the coordinator's address.
absl::StatusOr<std::string> StartAll(const UpOptions& options, Supervisor* supervisor) {
  ChildSpec coordinator =
      MakeChild(options, "coordinator", "hone-coordinator", {"--state=" + JoinPath(options.state, "coordinator")});
  coordinator.listen = options.listen;
  coordinator.keep_address = true;
  HONE_ASSIGN_OR_RETURN(const std::string address, supervisor->Start(coordinator, kStartTimeout));
  const std::string at = "--coordinator=" + address;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::string threads = absl::StrCat("--threads=", options.threads > 0 ? options.threads : cores);
  HONE_RETURN_IF_ERROR(
      supervisor->Start(MakeChild(options, "reward-server", "hone-reward-server", {at}), kStartTimeout).status());
  HONE_RETURN_IF_ERROR(
      supervisor->Start(MakeChild(options, "learner", "hone-learner", {at, threads}), kStartTimeout).status());
  std::vector<std::string> worker = WorkerArguments(options.worker);
  worker.insert(worker.end(), {at, threads});
  for (int i = 0; i < options.rollout_workers; ++i) {
    const std::string name = options.rollout_workers == 1 ? "rollout-worker" : absl::StrCat("rollout-worker-", i);
    HONE_RETURN_IF_ERROR(
        supervisor->Start(MakeChild(options, name, "hone-rollout-worker", worker), kStartTimeout).status());
  }
  return address;
}

// Waits until every process has joined the coordinator.
absl::Status AwaitMembers(const UpOptions& options, const Supervisor& supervisor, ControlClient* client,
                          ShutdownSignal* shutdown) {
  const int expected = 2 + options.rollout_workers;
  const absl::Time deadline = absl::Now() + kMembersTimeout;
  int seen = 0;
  while (absl::Now() < deadline) {
    HONE_RETURN_IF_ERROR(supervisor.status());
    if (const auto members = client->ListMembers(); members.ok()) {
      seen = members->members_size();
      if (seen >= expected) return absl::OkStatus();
    }
    if (shutdown->WaitFor(absl::Milliseconds(50))) return absl::CancelledError("interrupted while starting");
  }
  return absl::UnavailableError(
      absl::StrCat("only ", seen, " of ", expected, " processes joined the coordinator within ",
                   ShortDuration(kMembersTimeout), "; see ", JoinPath(options.state, "logs")));
}

// Creates the run, or takes up one that an earlier `hone up` of the same state left: the request's id is the spec's
// hash.
absl::StatusOr<v1::Run> TakeUpRun(ControlClient* client, const v1::RunSpec& spec) {
  HONE_ASSIGN_OR_RETURN(v1::Run run, client->CreateRun(spec, "hone-up/" + RunHash(spec)));
  if (run.state() == v1::RUN_STATE_SUCCEEDED) {
    Note(absl::StrCat("run '", spec.name(), "' has finished before; for another one: --set name=..., or another seed"));
    return run;
  }
  if (run.state() == v1::RUN_STATE_PAUSED && !run.error().empty()) {
    Note(absl::StrCat("run '", spec.name(), "' paused by itself: ", run.error(), ". `hone resume ", spec.name(),
                      "` goes on"));
    return run;
  }
  if (run.state() != v1::RUN_STATE_RUNNING && run.state() != v1::RUN_STATE_QUEUED) {
    Note(absl::StrCat("run '", spec.name(), "' is ", RunStateName(run.state()),
                      "; it goes on from its newest checkpoint"));
    return client->ResumeRun(run.name());
  }
  return run;
}

// Watches the run; the processes' trouble and signals break it off.
int FollowRun(const Supervisor& supervisor, ControlClient* client, ShutdownSignal* shutdown, const v1::RunSpec& spec) {
  absl::StatusOr<v1::Run> run = TakeUpRun(client, spec);
  if (!run.ok()) return Fail(run.status());
  WatchOptions watch;
  watch.cancelled = [&] { return shutdown->requested() || !supervisor.status().ok(); };
  watch.patience = absl::InfiniteDuration();  // the supervisor brings the coordinator back, or says that it cannot
  run = WatchUntilEnd(client, run->name(), watch);
  if (!supervisor.status().ok()) return Fail(supervisor.status());
  if (absl::IsCancelled(run.status())) {
    Note(absl::StrCat("interrupted; the same `hone up` takes run '", spec.name(), "' up again"));
    return kExitStopped;
  }
  if (!run.ok()) return Fail(run.status());
  const int exit = ReportEnd(*run);
  Print(SummaryTable(run->output_dir()));
  return exit;
}

absl::StatusOr<std::unique_ptr<FileLock>> LockState(const std::string& state) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock = FileLock::Acquire(JoinPath(state, "lock"));
  if (lock.ok()) return lock;
  return Annotate(lock.status(), absl::StrCat("another `hone up` uses the state folder ", state,
                                              "; stop it with `hone down`, or give --state another folder"));
}

absl::Status CheckStateIsFree(const std::string& state) { return LockState(state).status(); }

int RunInForeground(const UpOptions& options, const std::optional<v1::RunSpec>& spec) {
  const std::unique_ptr<ShutdownSignal> shutdown = InstallShutdownSignals();
  if (absl::Status status = CreateDirectories(options.state); !status.ok()) return Fail(status);
  const auto lock = LockState(options.state);
  if (!lock.ok()) return Fail(lock.status());
  // From now on `hone down` ends this process, and not the one whose number an earlier one left.
  const auto pid = FileWhileAlive::Create(JoinPath(options.state, "pid"), absl::StrCat(getpid(), "\n"));
  if (!pid.ok()) return Fail(pid.status());
  Supervisor supervisor(options.state);
  const absl::StatusOr<std::string> address = StartAll(options, &supervisor);
  if (!address.ok()) return Fail(address.status());
  supervisor.Watch();
  ControlClient client(*address);
  if (absl::Status status = AwaitMembers(options, supervisor, &client, shutdown.get()); !status.ok())
    return Fail(status);
  const auto endpoint = FileWhileAlive::Create(JoinPath(options.state, "endpoint"), *address + "\n");
  if (!endpoint.ok()) return Fail(endpoint.status());
  Note(absl::StrCat("coordinator at ", *address, "; logs in ", JoinPath(options.state, "logs")));

  int exit = kExitOk;
  if (spec.has_value()) exit = FollowRun(supervisor, &client, shutdown.get(), *spec);
  if (!options.exit && exit != kExitUnavailable && !shutdown->requested()) {
    Note("running; Ctrl-C or `hone down` ends all processes");
    while (!shutdown->WaitFor(absl::Milliseconds(200))) {
      if (!supervisor.status().ok()) return Fail(supervisor.status());
    }
  }
  supervisor.StopAll(kStopGrace);
  return exit;
}

// The same command in the background, in a session of its own; returns once the coordinator can be called.
int Detach(const UpOptions& options, const Args& args) {
  if (absl::Status status = CreateDirectories(JoinPath(options.state, "logs")); !status.ok()) return Fail(status);
  const std::string log = JoinPath(JoinPath(options.state, "logs"), "up.log");
  SubprocessOptions child;
  child.argv = {JoinPath(ExecutableDirectory(), "hone"), "up"};
  child.argv.insert(child.argv.end(), args.begin(), args.end());
  child.output_path = log;
  child.die_with_parent = false;
  child.env[kDetachedEnv] = "1";
  const std::string endpoint = JoinPath(options.state, "endpoint");
  if (const absl::Status free = CheckStateIsFree(options.state); !free.ok()) return Fail(free);
  unlink(endpoint.c_str());  // of a `hone up` that was killed
  absl::StatusOr<std::unique_ptr<Subprocess>> process = Subprocess::Start(child);
  if (!process.ok()) return Fail(process.status());
  const absl::Time deadline = absl::Now() + 3 * kStartTimeout;
  while (absl::Now() < deadline) {
    if (const auto exit = (*process)->Poll()) {
      Note(absl::StrCat("`hone up` ended; the end of ", log, ":\n", TailOfFile(log, 12)));
      return *exit == 0 ? kExitFailed : *exit;
    }
    if (const auto address = ReadFile(endpoint); address.ok()) {
      Note("running in the background; `hone down` ends it");
      Print(*address);
      (*process)->Disown();  // it lives on
      return kExitOk;
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  (*process)->Stop(kStopGrace);
  return Fail(absl::UnavailableError(
      absl::StrCat("`hone up` is not ready after ", ShortDuration(3 * kStartTimeout), "; see ", log)));
}

}  // namespace

int RunUp(const Args& args) {
  UpOptions options;
  FlagParser flags = MakeFlags("up", "Starts coordinator, reward server, learner and rollout workers on this machine.",
                               {"hone up", "hone up --run recipes/quickstart.yaml --exit",
                                "hone up --run recipes/quickstart.yaml --set seed=1 --set name=second --exit"});
  flags.Add("run", &options.run_file, "run file to carry out and watch");
  flags.Add("set", &options.overrides, "with --run: a.b=v, changes a field; may be given several times");
  flags.Add("exit", &options.exit, "with --run: end all processes when the run ends; the exit code is the run's");
  flags.Add("state", &options.state, "folder for the coordinator's state, logs and the endpoint file");
  flags.Add("listen", &options.listen,
            "host:port of the coordinator; port 0 = any free one; the other processes get free ports of that host");
  flags.Add("rollout_workers", &options.rollout_workers, "number of rollout workers");
  flags.Add("threads", &options.threads, "threads of each learner and worker; 0 = all cores");
  AddWorkerMemoryFlags(&flags, &options.worker, "of each rollout worker: ");
  flags.Add("stall_seconds", &options.worker.stall_seconds,
            "after so long without a step of its engine a rollout worker's groups are left to others; 0 = never");
  flags.Add("detach", &options.detach, "go to the background once all is up");
  flags.Add("log_level", &options.log_level, "debug, info, warning or error, for all processes");
  if (const auto exit = ParseArgs(&flags, "up", args)) return *exit;
  if (options.rollout_workers < 1 || options.rollout_workers > 64 || options.threads < 0) {
    Note("up: expected --rollout_workers from 1 to 64 and --threads of at least 0");
    return kExitUsage;
  }
  if (const absl::Status status = CheckWorkerFlags(options.worker); !status.ok()) {
    Note(absl::StrCat("up: ", status.message()));
    return kExitUsage;
  }
  if (options.run_file.empty() && (options.exit || !options.overrides.empty())) {
    Note("up: --exit and --set need --run");
    return kExitUsage;
  }
  std::optional<v1::RunSpec> spec;
  if (!options.run_file.empty()) {
    // Before anything starts: a mistake in the file is told at once.
    absl::StatusOr<v1::RunSpec> resolved = LoadRunFile(options.run_file, options.overrides);
    if (!resolved.ok()) return Fail(resolved.status());
    if (const absl::Status works = CheckWithLearner(*resolved); !works.ok()) return Fail(works);
    if (const auto missing = MissingInputs(*resolved); !missing.empty()) return Fail(missing.front());
    spec = *std::move(resolved);
  }
  // The one in the background is given the same flags.
  const bool detached = getenv(kDetachedEnv) != nullptr;
  if (options.detach && !detached) return Detach(options, args);
  if (detached) setsid();
  return RunInForeground(options, spec);
}

int RunDown(const Args& args) {
  std::string state = kDefaultState;
  FlagParser flags = MakeFlags("down", "Ends the processes of a `hone up` in order. Runs can be taken up again later.",
                               {"hone down", "hone down --state runs/.hone-quickstart"});
  flags.Add("state", &state, "the state folder that `hone up` was given");
  if (const auto exit = ParseArgs(&flags, "down", args)) return *exit;
  const auto text = ReadFile(JoinPath(state, "pid"));
  int pid = 0;
  if (!text.ok() || std::sscanf(text->c_str(), "%d", &pid) != 1 || pid <= 1) {
    return Fail(absl::NotFoundError(absl::StrCat("no `hone up` runs with the state folder ", state)));
  }
  // The lock tells whether that process still lives: a number alone might be another's by now.
  const std::string lock = JoinPath(state, "lock");
  if (FileLock::Acquire(lock).ok()) {
    return Fail(absl::NotFoundError(absl::StrCat("no `hone up` runs with the state folder ", state, " any more")));
  }
  if (kill(pid, SIGTERM) != 0) return Fail(ErrnoStatus(errno, absl::StrCat("stop process ", pid)));
  const absl::Time deadline = absl::Now() + 5 * kStopGrace;
  while (absl::Now() < deadline) {
    if (FileLock::Acquire(lock).ok()) {
      Note("stopped");
      return kExitOk;
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  return Fail(
      absl::UnavailableError(absl::StrCat("process ", pid, " has not ended after ", ShortDuration(5 * kStopGrace))));
}

}  // namespace hone::cli
