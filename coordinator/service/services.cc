#include "coordinator/service/services.h"

#include <utility>

#include "hone/v1/control.grpc.pb.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "rpc/status.h"

namespace hone::coordinator {
namespace {

using grpc::ServerContext;

template <typename T>
grpc::Status Answer(absl::StatusOr<T> result, T* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

Coordinator::Cancelled WhenCancelled(ServerContext* context) {
  return [context] { return context->IsCancelled(); };
}

class ControlService final : public v1::ControlService::Service {
 public:
  explicit ControlService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::Status CreateRun(ServerContext*, const v1::CreateRunRequest* request, v1::Run* response) override {
    return Answer(coordinator_.CreateRun(*request), response);
  }
  grpc::Status ResolveRun(ServerContext*, const v1::ResolveRunRequest* request,
                          v1::ResolveRunResponse* response) override {
    return Answer(coordinator_.ResolveRun(*request), response);
  }
  grpc::Status GetRun(ServerContext*, const v1::GetRunRequest* request, v1::Run* response) override {
    return Answer(coordinator_.GetRun(request->name()), response);
  }
  grpc::Status ListRuns(ServerContext*, const v1::ListRunsRequest* request, v1::ListRunsResponse* response) override {
    return Answer(coordinator_.ListRuns(*request), response);
  }
  grpc::Status WatchRun(ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    return ToGrpc(coordinator_.WatchRun(*request, WhenCancelled(context),
                                        [&](const v1::WatchRunResponse& response) { return writer->Write(response); }));
  }
  grpc::Status PauseRun(ServerContext*, const v1::PauseRunRequest* request, v1::Run* response) override {
    return Answer(coordinator_.PauseRun(request->name()), response);
  }
  grpc::Status ResumeRun(ServerContext*, const v1::ResumeRunRequest* request, v1::Run* response) override {
    return Answer(coordinator_.ResumeRun(request->name()), response);
  }
  grpc::Status StopRun(ServerContext*, const v1::StopRunRequest* request, v1::Run* response) override {
    return Answer(coordinator_.StopRun(request->name()), response);
  }
  grpc::Status ListSamples(ServerContext*, const v1::ListSamplesRequest* request,
                           v1::ListSamplesResponse* response) override {
    return Answer(coordinator_.ListSamples(*request), response);
  }
  grpc::Status ListMetrics(ServerContext*, const v1::ListMetricsRequest* request,
                           v1::ListMetricsResponse* response) override {
    return Answer(coordinator_.ListMetrics(*request), response);
  }
  grpc::Status ListMembers(ServerContext*, const v1::ListMembersRequest*, v1::ListMembersResponse* response) override {
    return Answer(coordinator_.ListMembers(), response);
  }

 private:
  Coordinator& coordinator_;
};

class CoordinatorService final : public v1::CoordinatorService::Service {
 public:
  explicit CoordinatorService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::Status Register(ServerContext*, const v1::RegisterRequest* request, v1::RegisterResponse* response) override {
    return Answer(coordinator_.Register(*request), response);
  }
  grpc::Status Heartbeat(ServerContext*, const v1::HeartbeatRequest* request, v1::HeartbeatResponse*) override {
    return ToGrpc(coordinator_.Heartbeat(*request));
  }
  grpc::Status LeaseGroups(ServerContext* context, const v1::LeaseGroupsRequest* request,
                           v1::LeaseGroupsResponse* response) override {
    return Answer(coordinator_.LeaseGroups(*request, WhenCancelled(context)), response);
  }
  grpc::Status SubmitGroup(ServerContext*, const v1::SubmitGroupRequest* request,
                           v1::SubmitGroupResponse* response) override {
    return Answer(coordinator_.SubmitGroup(*request), response);
  }
  grpc::Status DeclineGroup(ServerContext*, const v1::DeclineGroupRequest* request,
                            v1::DeclineGroupResponse*) override {
    return ToGrpc(coordinator_.DeclineGroup(*request));
  }
  grpc::Status NextWork(ServerContext* context, const v1::NextWorkRequest* request,
                        v1::NextWorkResponse* response) override {
    return Answer(coordinator_.NextWork(*request, WhenCancelled(context)), response);
  }
  grpc::Status PublishVersion(ServerContext*, const v1::PublishVersionRequest* request,
                              v1::PublishVersionResponse* response) override {
    return Answer(coordinator_.PublishVersion(*request), response);
  }
  grpc::Status AwaitRelease(ServerContext* context, const v1::AwaitReleaseRequest* request,
                            v1::AwaitReleaseResponse* response) override {
    return Answer(coordinator_.AwaitRelease(*request, WhenCancelled(context)), response);
  }
  grpc::Status FetchBatch(ServerContext* context, const v1::FetchBatchRequest* request,
                          grpc::ServerWriter<v1::FetchBatchResponse>* writer) override {
    return ToGrpc(
        coordinator_.FetchBatch(*request, WhenCancelled(context),
                                [&](const v1::FetchBatchResponse& response) { return writer->Write(response); }));
  }
  grpc::Status ReportStep(ServerContext*, const v1::ReportStepRequest* request,
                          v1::ReportStepResponse* response) override {
    return Answer(coordinator_.ReportStep(*request), response);
  }
  grpc::Status ReportCheckpoint(ServerContext*, const v1::ReportCheckpointRequest* request,
                                v1::ReportCheckpointResponse* response) override {
    return Answer(coordinator_.ReportCheckpoint(*request), response);
  }
  grpc::Status FinishWork(ServerContext*, const v1::FinishWorkRequest* request, v1::FinishWorkResponse*) override {
    return ToGrpc(coordinator_.FinishWork(*request));
  }

 private:
  Coordinator& coordinator_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeControlService(Coordinator* coordinator) {
  return std::make_unique<ControlService>(coordinator);
}

std::unique_ptr<grpc::Service> MakeCoordinatorService(Coordinator* coordinator) {
  return std::make_unique<CoordinatorService>(coordinator);
}

}  // namespace hone::coordinator
