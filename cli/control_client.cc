#include "cli/control_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/status.h"
#include "base/strings.h"
#include "hone/v1/control.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace hone::cli {
namespace {

// How likely a command that names no run means this one.
int Interest(const v1::Run& run) {
  switch (run.state()) {
    case v1::RUN_STATE_RUNNING:
      return 4;
    case v1::RUN_STATE_PAUSED:
    case v1::RUN_STATE_STOPPING:
      return 3;
    case v1::RUN_STATE_QUEUED:
      return 2;
    default:
      break;
  }
  // What `hone export` made is the run of one command and not what people follow.
  const auto exports = [](const v1::StageProgress& stage) { return stage.kind() == "export"; };
  return std::all_of(run.stages().begin(), run.stages().end(), exports) ? 0 : 1;
}

}  // namespace

absl::StatusOr<std::string> FindCoordinator(const std::string& flag) {
  std::string from = flag;
  if (from.empty()) {
    const char* variable = std::getenv("HONE_COORDINATOR");
    from = variable != nullptr && *variable != '\0' ? variable : kDefaultState;
  }
  if (!DirectoryExists(from) && from.find(':') != std::string::npos) return from;
  const std::string file = JoinPath(from, "endpoint");
  absl::StatusOr<std::string> text = ReadFile(file);
  if (!text.ok()) {
    return absl::UnavailableError(absl::StrCat("no coordinator: ", file,
                                               " is not there. Start one with `hone up`, or name it with --coordinator "
                                               "host:port (or $HONE_COORDINATOR)"));
  }
  return std::string(absl::StripAsciiWhitespace(*text));
}

void AddCoordinatorFlag(FlagParser* flags, std::string* value) {
  flags->Add("coordinator", value,
             "host:port, or the state folder of a `hone up`; else $HONE_COORDINATOR, else runs/.hone");
}

std::string RunResource(const std::string& name) { return name.starts_with("runs/") ? name : "runs/" + name; }

struct ControlClient::Impl {
  std::string address;
  std::unique_ptr<v1::ControlService::Stub> stub;

  absl::Status Explain(const grpc::Status& status) const {
    absl::Status converted = FromGrpc(status);
    if (!absl::IsUnavailable(converted)) return converted;
    return absl::UnavailableError(absl::StrCat("the coordinator at ", address, " cannot be reached (",
                                               std::string(converted.message()), "); is `hone up` still running?"));
  }

  template <typename Response, typename Request, typename Method>
  absl::StatusOr<Response> Call(Method method, const Request& request) const {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(30));
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }
};

ControlClient::ControlClient(const std::string& address) : impl_(std::make_unique<Impl>()) {
  impl_->address = address;
  impl_->stub = v1::ControlService::NewStub(CreateChannel(address));
}
ControlClient::~ControlClient() = default;

absl::StatusOr<std::unique_ptr<ControlClient>> ControlClient::Connect(const std::string& coordinator_flag) {
  HONE_ASSIGN_OR_RETURN(const std::string address, FindCoordinator(coordinator_flag));
  return std::make_unique<ControlClient>(address);
}

absl::StatusOr<v1::Run> ControlClient::CreateRun(const v1::RunSpec& spec, const std::string& request_id) {
  v1::CreateRunRequest request;
  *request.mutable_spec() = spec;
  request.set_request_id(request_id);
  return impl_->Call<v1::Run>(&v1::ControlService::Stub::CreateRun, request);
}

absl::StatusOr<v1::Run> ControlClient::GetRun(const std::string& name) {
  v1::GetRunRequest request;
  request.set_name(RunResource(name));
  return impl_->Call<v1::Run>(&v1::ControlService::Stub::GetRun, request);
}

absl::StatusOr<std::vector<v1::Run>> ControlClient::ListRuns() {
  std::vector<v1::Run> runs;
  v1::ListRunsRequest request;
  request.set_page_size(1000);
  do {
    HONE_ASSIGN_OR_RETURN(const v1::ListRunsResponse response,
                          impl_->Call<v1::ListRunsResponse>(&v1::ControlService::Stub::ListRuns, request));
    runs.insert(runs.end(), response.runs().begin(), response.runs().end());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return runs;
}

absl::StatusOr<v1::Run> ControlClient::PauseRun(const std::string& name) {
  v1::PauseRunRequest request;
  request.set_name(RunResource(name));
  return impl_->Call<v1::Run>(&v1::ControlService::Stub::PauseRun, request);
}

absl::StatusOr<v1::Run> ControlClient::ResumeRun(const std::string& name) {
  v1::ResumeRunRequest request;
  request.set_name(RunResource(name));
  return impl_->Call<v1::Run>(&v1::ControlService::Stub::ResumeRun, request);
}

absl::StatusOr<v1::Run> ControlClient::StopRun(const std::string& name) {
  v1::StopRunRequest request;
  request.set_name(RunResource(name));
  return impl_->Call<v1::Run>(&v1::ControlService::Stub::StopRun, request);
}

absl::StatusOr<v1::ListSamplesResponse> ControlClient::ListSamples(const v1::ListSamplesRequest& request) {
  return impl_->Call<v1::ListSamplesResponse>(&v1::ControlService::Stub::ListSamples, request);
}

absl::StatusOr<v1::ListMetricsResponse> ControlClient::ListMetrics(const v1::ListMetricsRequest& request) {
  return impl_->Call<v1::ListMetricsResponse>(&v1::ControlService::Stub::ListMetrics, request);
}

absl::StatusOr<v1::ListMembersResponse> ControlClient::ListMembers() {
  return impl_->Call<v1::ListMembersResponse>(&v1::ControlService::Stub::ListMembers, v1::ListMembersRequest());
}

absl::StatusOr<v1::Run> ControlClient::PickRun(const std::string& name) {
  if (!name.empty()) {
    absl::StatusOr<v1::Run> run = GetRun(name);
    if (run.ok() || !absl::IsNotFound(run.status())) return run;
    // A typing error is likelier than a lost run.
    std::vector<std::string> names;
    if (const auto runs = ListRuns(); runs.ok()) {
      for (const v1::Run& other : *runs) names.push_back(other.name().substr(other.name().find('/') + 1));
    }
    const std::string near = NearestName(name.substr(name.starts_with("runs/") ? 5 : 0), names);
    return near.empty() ? run.status() : Annotate(run.status(), absl::StrCat("did you mean '", near, "'?"));
  }
  HONE_ASSIGN_OR_RETURN(const std::vector<v1::Run> runs, ListRuns());
  if (runs.empty()) return absl::NotFoundError("this coordinator has no runs yet; start one with `hone run FILE`");
  const v1::Run* best = nullptr;
  const auto key = [](const v1::Run& r) {
    return std::make_tuple(Interest(r), r.create_time().seconds(), r.create_time().nanos());
  };
  for (const v1::Run& run : runs) {
    if (best == nullptr || key(run) > key(*best)) best = &run;
  }
  return *best;
}

absl::Status ControlClient::WatchRun(const std::string& name, const std::function<bool()>& cancelled,
                                     const std::function<void(const v1::WatchRunResponse&)>& on_update) {
  grpc::ClientContext context;
  v1::WatchRunRequest request;
  request.set_name(RunResource(name));
  std::atomic<bool> done{false};
  std::atomic<bool> gave_up{false};
  // Read blocks; this thread breaks it off.
  std::thread monitor([&] {
    while (!done.load()) {
      if (cancelled && cancelled()) {
        gave_up = true;
        context.TryCancel();
        return;
      }
      absl::SleepFor(absl::Milliseconds(50));
    }
  });
  const auto reader = impl_->stub->WatchRun(&context, request);
  v1::WatchRunResponse response;
  while (reader->Read(&response)) on_update(response);
  const grpc::Status status = reader->Finish();
  done = true;
  monitor.join();
  if (gave_up.load()) return absl::CancelledError("watching was broken off");
  return status.ok() ? absl::OkStatus() : impl_->Explain(status);
}

absl::Status CheckStage(const v1::Run& run, const std::string& stage) {
  std::vector<std::string> names;
  for (const v1::StageProgress& known : run.stages()) names.push_back(known.name());
  if (stage.empty() || std::find(names.begin(), names.end(), stage) != names.end()) return absl::OkStatus();
  const std::string near = NearestName(stage, names);
  return absl::NotFoundError(absl::StrCat(run.name(), " has no stage '", stage, "'; ",
                                          near.empty() ? absl::StrCat("its stages: ", absl::StrJoin(names, ", "))
                                                       : absl::StrCat("did you mean '", near, "'?")));
}

}  // namespace hone::cli
