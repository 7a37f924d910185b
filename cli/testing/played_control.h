// A control service that plays a run, for tests of the commands that ask one.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cli/testing/run_hone.h"
#include "hone/v1/control.grpc.pb.h"
#include "rpc/server.h"

namespace hone::cli {

// Samples asked for at this step could not be scored.
inline constexpr int kUnscorableStep = 7;

// Plays one run, "demo": a finished stage `base` and a stage `zero` of three steps that advances by one with each
// update and ends in `final_state`. Exports are carried out at once, with made-up files. Thread-safe.
class PlayedControl final : public v1::ControlService::Service {
 public:
  explicit PlayedControl(v1::RunState final_state) : final_state_(final_state) {}

  // The next CreateRun answers that another run has the name.
  void refuse_next_create();
  // The state in which CreateRun answers, and that of "demo" in the list; running where not set.
  void set_first_state(v1::RunState state) { first_state_ = state; }
  void set_listed_state(v1::RunState state) { listed_state_ = state; }

  // The run that was paused last, and all requests of CreateRun.
  std::string paused();
  std::vector<v1::CreateRunRequest> created();

  grpc::Status CreateRun(grpc::ServerContext*, const v1::CreateRunRequest* request, v1::Run* response) override;
  grpc::Status ResumeRun(grpc::ServerContext*, const v1::ResumeRunRequest*, v1::Run* response) override;
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::Run* response) override;
  // Two pages: the second holds the run that is at work.
  grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override;
  // The first stream breaks, the next two find a full disk.
  grpc::Status WatchRun(grpc::ServerContext*, const v1::WatchRunRequest*,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override;
  grpc::Status StopRun(grpc::ServerContext*, const v1::StopRunRequest* request, v1::Run* response) override;
  grpc::Status PauseRun(grpc::ServerContext*, const v1::PauseRunRequest* request, v1::Run* response) override;
  // 250 of them: more than a page.
  grpc::Status ListSamples(grpc::ServerContext*, const v1::ListSamplesRequest* request,
                           v1::ListSamplesResponse* response) override;
  grpc::Status ListMetrics(grpc::ServerContext*, const v1::ListMetricsRequest* request,
                           v1::ListMetricsResponse* response) override;
  grpc::Status ListMembers(grpc::ServerContext*, const v1::ListMembersRequest*,
                           v1::ListMembersResponse* response) override;

 private:
  v1::Run RunAt(int step) const;

  const v1::RunState final_state_;
  std::atomic<v1::RunState> first_state_ = v1::RUN_STATE_RUNNING;
  std::atomic<v1::RunState> listed_state_ = v1::RUN_STATE_RUNNING;
  std::mutex mutex_;
  std::set<std::string> exports_;  // request ids that were carried out
  std::string last_export_;
  std::string paused_;
  std::vector<v1::CreateRunRequest> created_;
  int watches_ = 0;
  bool refuse_create_ = false;
};

// The service on a port, and `hone` that finds it there.
struct Played {
  explicit Played(v1::RunState final_state);
  Result Hone(const std::string& words);

  PlayedControl service;
  std::unique_ptr<RpcServer> server;
};

}  // namespace hone::cli
