// The control API as the commands call it: typed calls with deadlines, errors that say what to do.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/flags.h"
#include "hone/v1/control.pb.h"

namespace hone::cli {

inline constexpr const char* kDefaultState = "runs/.hone";

// Where the coordinator is: `flag` (host:port, or the state folder of a `hone up`), else $HONE_COORDINATOR (likewise),
// else the endpoint file of ./runs/.hone. UNAVAILABLE with what to do where there is none.
absl::StatusOr<std::string> FindCoordinator(const std::string& flag);
void AddCoordinatorFlag(FlagParser* flags, std::string* value);

// "runs/x" for "x" and for "runs/x".
std::string RunResource(const std::string& name);

// Thread-safe. Each call waits at most 30 seconds; an unreachable coordinator is UNAVAILABLE.
class ControlClient {
 public:
  explicit ControlClient(const std::string& address);
  ~ControlClient();
  // FindCoordinator, then a client for it.
  static absl::StatusOr<std::unique_ptr<ControlClient>> Connect(const std::string& coordinator_flag);

  absl::StatusOr<v1::Run> CreateRun(const v1::RunSpec& spec, const std::string& request_id);
  absl::StatusOr<v1::Run> GetRun(const std::string& name);
  absl::StatusOr<std::vector<v1::Run>> ListRuns();
  absl::StatusOr<v1::Run> PauseRun(const std::string& name);
  absl::StatusOr<v1::Run> ResumeRun(const std::string& name);
  absl::StatusOr<v1::Run> StopRun(const std::string& name);
  absl::StatusOr<v1::ListSamplesResponse> ListSamples(const v1::ListSamplesRequest& request);
  absl::StatusOr<v1::ListMetricsResponse> ListMetrics(const v1::ListMetricsRequest& request);
  absl::StatusOr<v1::ListMembersResponse> ListMembers();
  // The run called `name`; where it is empty: the one that is running, else paused or stopping, else
  // queued, else the newest that does more than export.
  absl::StatusOr<v1::Run> PickRun(const std::string& name);

  // Calls `on_update` for each message of one WatchRun stream, until it ends, breaks (UNAVAILABLE) or `cancelled` turns
  // true (CANCELLED).
  absl::Status WatchRun(const std::string& name, const std::function<bool()>& cancelled,
                        const std::function<void(const v1::WatchRunResponse&)>& on_update);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// NOT_FOUND, with the nearest name or all of them, where `run` has no stage called `stage`; OK where that is empty.
absl::Status CheckStage(const v1::Run& run, const std::string& stage);

}  // namespace hone::cli
