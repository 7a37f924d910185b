// The coordinator around its core: journal, store, prompts, reports, clock and threads. The gRPC services only
// translate.
//
// Every command runs under one lock against the core, which appends records to the journal; the answer leaves after
// those records (and all before) are durable. So whatever anybody was told survives a crash at any moment, and many
// callers share an fsync.
//
// A thread ticks the core; another carries durable records into the reports and the store, in journal order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/files.h"
#include "coordinator/core/core.h"
#include "coordinator/journal/journal.h"
#include "coordinator/service/reports.h"
#include "coordinator/store/store.h"

namespace hone::coordinator {

// Thread-safe.
class Coordinator {
 public:
  // A long poll waits at most this long, whatever it asks for.
  static constexpr absl::Duration kMaxWait = absl::Seconds(60);
  // A watcher hears of changes at most this often.
  static constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

  struct Options {
    std::string state_directory;
    std::string working_directory;  // relative paths of run files start here
    absl::Duration tick_interval = absl::Milliseconds(500);
    CoreOptions core;  // incarnation and working_directory are set by Start
    int64_t segment_bytes = 64 << 20;
  };
  // Tells a long poll that its caller is gone. May be empty.
  using Cancelled = std::function<bool()>;

  // Locks the state directory, replays the journal, loads the prompts of unfinished runs. FAILED_PRECONDITION: another
  // coordinator holds the directory. DATA_LOSS: the journal is damaged, or ends before what the database has seen.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(const Options& options);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;
  // Ends long polls: they answer UNAVAILABLE. Idempotent.
  void Close();

  // ---- ControlService
  absl::StatusOr<v1::Run> CreateRun(const v1::CreateRunRequest& request);
  absl::StatusOr<v1::ResolveRunResponse> ResolveRun(const v1::ResolveRunRequest& request);
  absl::StatusOr<v1::Run> GetRun(const std::string& name);
  absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request);
  // Calls `send` at once and then at each change, until the run has ended or `send` says false.
  absl::Status WatchRun(const v1::WatchRunRequest& request, const Cancelled& cancelled,
                        const std::function<bool(const v1::WatchRunResponse&)>& send);
  absl::StatusOr<v1::Run> PauseRun(const std::string& name);
  absl::StatusOr<v1::Run> ResumeRun(const std::string& name);
  absl::StatusOr<v1::Run> StopRun(const std::string& name);
  absl::StatusOr<v1::ListSamplesResponse> ListSamples(const v1::ListSamplesRequest& request);
  absl::StatusOr<v1::ListMetricsResponse> ListMetrics(const v1::ListMetricsRequest& request);
  absl::StatusOr<v1::ListMembersResponse> ListMembers();

  // ---- CoordinatorService
  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request);
  absl::Status Heartbeat(const v1::HeartbeatRequest& request);
  absl::StatusOr<v1::LeaseGroupsResponse> LeaseGroups(const v1::LeaseGroupsRequest& request,
                                                      const Cancelled& cancelled);
  absl::StatusOr<v1::SubmitGroupResponse> SubmitGroup(const v1::SubmitGroupRequest& request);
  absl::Status DeclineGroup(const v1::DeclineGroupRequest& request);
  absl::StatusOr<v1::NextWorkResponse> NextWork(const v1::NextWorkRequest& request, const Cancelled& cancelled);
  absl::StatusOr<v1::PublishVersionResponse> PublishVersion(const v1::PublishVersionRequest& request);
  absl::StatusOr<v1::AwaitReleaseResponse> AwaitRelease(const v1::AwaitReleaseRequest& request,
                                                        const Cancelled& cancelled);
  absl::Status FetchBatch(const v1::FetchBatchRequest& request, const Cancelled& cancelled,
                          const std::function<bool(const v1::FetchBatchResponse&)>& send);
  absl::StatusOr<v1::ReportStepResponse> ReportStep(const v1::ReportStepRequest& request);
  absl::StatusOr<v1::ReportCheckpointResponse> ReportCheckpoint(const v1::ReportCheckpointRequest& request);
  absl::Status FinishWork(const v1::FinishWorkRequest& request);

 private:
  explicit Coordinator(const Options& options);
  absl::Status Open();
  // Prompts of a run, checked against the bytes it began with; an error of data fails the run.
  absl::Status LoadPromptsOf(const std::string& run);

  // Not before any time given earlier, as the core demands. Needs the lock.
  absl::Time Now();
  // Runs `command(core, now)` under the lock and answers once everything it rests on is durable.
  template <typename F>
  auto Execute(F&& command) -> decltype(command(std::declval<Core&>(), absl::Time()));
  // For commands that change nothing: nobody is woken.
  template <typename F>
  auto Query(F&& command) -> decltype(command(std::declval<const Core&>(), absl::Time()));
  // Execute, again after each change until `done(answer)` or the wait is over.
  template <typename F, typename Done>
  auto Poll(absl::Duration wait, const Cancelled& cancelled, F&& command, Done&& done)
      -> decltype(command(std::declval<Core&>(), absl::Time()));
  absl::StatusOr<v1::Run> Describe(const std::string& name);
  absl::StatusOr<v1::Run> Control(const std::string& name,
                                  absl::Status (Core::*command)(const std::string&, absl::Time));

  void TickLoop();
  void ProjectLoop();
  absl::Status ProjectOnce(int64_t durable_end);

  const Options options_;
  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Reports> reports_;  // the projecting thread's own

  std::mutex mutex_;
  std::condition_variable changed_;                 // the core may answer differently now, or the projection went on
  std::unique_ptr<Core> core_;                      // guarded by mutex_
  int64_t change_count_ = 0;                        // guarded by mutex_
  absl::Time last_now_ = absl::InfinitePast();      // guarded by mutex_
  std::string last_obstacle_;                       // guarded by mutex_
  std::map<std::string, std::string> spec_hashes_;  // by run, guarded by mutex_; a spec never changes
  std::atomic<int64_t> projected_{0};
  std::atomic<bool> closing_{false};

  std::thread ticker_;
  std::thread projector_;
};

}  // namespace hone::coordinator
