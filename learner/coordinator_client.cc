#include "learner/coordinator_client.h"

#include <google/protobuf/duration.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/strings.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/retry.h"
#include "rpc/status.h"

namespace hone::learner {
namespace {

constexpr absl::Duration kWait = absl::Seconds(2);  // of a long poll; also how long a shutdown may take to be seen
constexpr absl::Duration kCallDeadline = absl::Seconds(60);  // an answer may need an fsync on a busy disk
constexpr absl::Duration kBatchDeadline = absl::Minutes(5);  // a batch may be hundreds of megabytes
constexpr absl::Duration kPausedPoll = absl::Milliseconds(200);

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::ToInt64Seconds(duration));
  return proto;
}

template <typename Request>
Request MakeRequest(const Membership::Identity& identity) {
  Request request;
  request.set_member_id(identity.member_id);
  request.set_learner_epoch(identity.learner_epoch);
  return request;
}

const std::string& StageName(const v1::LearnerWork& work) { return work.spec().stages(work.stage_index()).name(); }

// nullopt: WAIT, ask again.
absl::StatusOr<std::optional<Flow>> ReadDirective(v1::Directive directive, const char* call) {
  switch (directive) {
    case v1::DIRECTIVE_CONTINUE:
      return Flow::kContinue;
    case v1::DIRECTIVE_WAIT:
      return std::optional<Flow>();
    case v1::DIRECTIVE_STOP:
      return Flow::kStop;
    case v1::DIRECTIVE_FINISH:
      return Flow::kFinish;
    case v1::DIRECTIVE_ABANDON:
      return Flow::kAbandon;
    default:
      return absl::InternalError(
          absl::StrCat(call, ": the coordinator answered with directive ", static_cast<int>(directive)));
  }
}

}  // namespace

struct CoordinatorClient::Stub {
  std::unique_ptr<v1::CoordinatorService::Stub> service;
  v1::CoordinatorService::Stub* operator->() const { return service.get(); }
};

CoordinatorClient::CoordinatorClient(const std::shared_ptr<grpc::Channel>& channel, Membership* membership,
                                     std::function<bool()> cancelled)
    : stub_(std::make_unique<Stub>(Stub{v1::CoordinatorService::NewStub(channel)})),
      membership_(membership),
      cancelled_(std::move(cancelled)) {}

CoordinatorClient::~CoordinatorClient() = default;

absl::Status CoordinatorClient::Begin() {
  HONE_ASSIGN_OR_RETURN(identity_, membership_->WaitUntilRegistered(cancelled_));
  return absl::OkStatus();
}

absl::Status CoordinatorClient::Retry(absl::Duration deadline, const Call& call) {
  bool away = false;
  absl::Status status = CallWithRetry(RetryPolicy(), cancelled_, [&] {
    grpc::ClientContext context;
    SetDeadline(context, deadline);
    absl::Status result = call(&context);
    // RESOURCE_EXHAUSTED: the coordinator's disk is full for now; it has changed nothing.
    if (absl::IsDeadlineExceeded(result) || absl::IsResourceExhausted(result)) {
      result = absl::UnavailableError(result.message());
    }
    if (absl::IsUnavailable(result) && !away) {
      HONE_WARNING << "the coordinator is away, calling again: " << result.ToString();
      away = true;
    }
    return result;
  });
  return status;
}

absl::StatusOr<std::optional<v1::LearnerWork>> CoordinatorClient::NextWork() {
  auto request = MakeRequest<v1::NextWorkRequest>(identity_);
  *request.mutable_wait() = ToProto(kWait);
  v1::NextWorkResponse response;
  HONE_RETURN_IF_ERROR(Retry(kWait + kCallDeadline, [&](grpc::ClientContext* context) {
    return FromGrpc((*stub_)->NextWork(context, request, &response));
  }));
  if (!response.has_work()) return std::optional<v1::LearnerWork>();
  return std::optional<v1::LearnerWork>(std::move(*response.mutable_work()));
}

absl::StatusOr<bool> CoordinatorClient::PublishVersion(const v1::LearnerWork& work, const v1::PolicyVersion& version,
                                                       int32_t step) {
  auto request = MakeRequest<v1::PublishVersionRequest>(identity_);
  request.set_run(work.run());
  request.set_stage(StageName(work));
  *request.mutable_version() = version;
  request.set_step(step);
  v1::PublishVersionResponse response;
  HONE_RETURN_IF_ERROR(Retry(kCallDeadline, [&](grpc::ClientContext* context) {
    return FromGrpc((*stub_)->PublishVersion(context, request, &response));
  }));
  return response.evaluation_due();
}

absl::StatusOr<Flow> CoordinatorClient::AwaitRelease(const v1::LearnerWork& work, int64_t version) {
  auto request = MakeRequest<v1::AwaitReleaseRequest>(identity_);
  request.set_run(work.run());
  request.set_version(version);
  *request.mutable_wait() = ToProto(kWait);
  for (;;) {
    v1::AwaitReleaseResponse response;
    HONE_RETURN_IF_ERROR(Retry(kWait + kCallDeadline, [&](grpc::ClientContext* context) {
      return FromGrpc((*stub_)->AwaitRelease(context, request, &response));
    }));
    HONE_ASSIGN_OR_RETURN(const std::optional<Flow> flow, ReadDirective(response.directive(), "AwaitRelease"));
    if (flow.has_value()) return *flow;
    if (while_waiting_) HONE_RETURN_IF_ERROR(while_waiting_());
  }
}

absl::StatusOr<Flow> CoordinatorClient::FetchBatch(const v1::LearnerWork& work, int32_t step, Batch* batch) {
  auto request = MakeRequest<v1::FetchBatchRequest>(identity_);
  request.set_run(work.run());
  request.set_stage(StageName(work));
  request.set_step(step);
  *request.mutable_wait() = ToProto(kWait);
  for (;;) {
    v1::FetchBatchResponse first;
    HONE_RETURN_IF_ERROR(Retry(kBatchDeadline, [&](grpc::ClientContext* context) {
      batch->groups.clear();
      const auto reader = (*stub_)->FetchBatch(context, request);
      if (!reader->Read(&first)) {
        const absl::Status end = FromGrpc(reader->Finish());
        return end.ok() ? absl::InternalError("FetchBatch: the stream ended before its first message") : end;
      }
      v1::FetchBatchResponse message;
      while (reader->Read(&message)) batch->groups.push_back(std::move(*message.mutable_group()));
      return FromGrpc(reader->Finish());
    }));
    HONE_ASSIGN_OR_RETURN(const std::optional<Flow> flow, ReadDirective(first.directive(), "FetchBatch"));
    if (!flow.has_value()) {
      if (while_waiting_) HONE_RETURN_IF_ERROR(while_waiting_());
      continue;
    }
    batch->journal_position = first.journal_position();
    if (*flow == Flow::kContinue && static_cast<size_t>(first.group_count()) != batch->groups.size()) {
      return absl::InternalError(absl::StrCat("FetchBatch of step ", step, ": expected ", first.group_count(),
                                              " groups, the stream held ", batch->groups.size()));
    }
    return *flow;
  }
}

absl::StatusOr<Flow> CoordinatorClient::ReportStep(const v1::LearnerWork& work, int32_t step, int32_t steps_total,
                                                   const std::map<std::string, double>& metrics) {
  auto request = MakeRequest<v1::ReportStepRequest>(identity_);
  request.set_run(work.run());
  request.set_stage(StageName(work));
  request.set_step(step);
  request.set_steps_total(steps_total);
  for (const auto& [name, value] : metrics) (*request.mutable_metrics())[name] = value;
  for (;;) {
    v1::ReportStepResponse response;
    HONE_RETURN_IF_ERROR(Retry(kCallDeadline, [&](grpc::ClientContext* context) {
      return FromGrpc((*stub_)->ReportStep(context, request, &response));
    }));
    HONE_ASSIGN_OR_RETURN(const std::optional<Flow> flow, ReadDirective(response.directive(), "ReportStep"));
    if (flow.has_value()) return *flow;
    if (while_waiting_) HONE_RETURN_IF_ERROR(while_waiting_());
    if (!SleepUnless(cancelled_, kPausedPoll)) return absl::CancelledError("shutting down");
  }
}

absl::StatusOr<std::vector<std::string>> CoordinatorClient::ReportCheckpoint(const v1::LearnerWork& work, int32_t step,
                                                                             const std::string& path,
                                                                             const std::string& root_hash,
                                                                             int64_t journal_position) {
  auto request = MakeRequest<v1::ReportCheckpointRequest>(identity_);
  request.set_run(work.run());
  request.set_stage(StageName(work));
  request.set_step(step);
  request.set_path(path);
  request.set_root_hash(root_hash);
  request.set_journal_position(journal_position);
  v1::ReportCheckpointResponse response;
  HONE_RETURN_IF_ERROR(Retry(kCallDeadline, [&](grpc::ClientContext* context) {
    return FromGrpc((*stub_)->ReportCheckpoint(context, request, &response));
  }));
  return std::vector<std::string>(response.obsolete_paths().begin(), response.obsolete_paths().end());
}

absl::Status CoordinatorClient::FinishWork(const v1::LearnerWork& work, const Finished& finished) {
  auto request = MakeRequest<v1::FinishWorkRequest>(identity_);
  request.set_work_id(work.work_id());
  request.set_outcome(finished.outcome);
  request.set_error(MendUtf8(finished.error));  // it may quote a file
  request.set_path(finished.path);
  request.set_root_hash(finished.root_hash);
  request.set_steps(finished.steps);
  v1::FinishWorkResponse response;
  return Retry(kCallDeadline, [&](grpc::ClientContext* context) {
    return FromGrpc((*stub_)->FinishWork(context, request, &response));
  });
}

}  // namespace hone::learner
