// The commands of CoordinatorService.
#include <utility>

#include "base/crash_point.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/core/record_time.h"
#include "coordinator/service/execute.h"
#include "rpc/limits.h"

namespace hone::coordinator {
namespace {

absl::Status CheckSize(size_t bytes) {
  if (bytes <= kMaxRequestBytes) return absl::OkStatus();
  return absl::InvalidArgumentError("the request has " + std::to_string(bytes) + " bytes, at most " +
                                    std::to_string(kMaxRequestBytes) + " are taken");
}

bool IsAnswer(v1::Directive directive) { return directive != v1::DIRECTIVE_WAIT; }

}  // namespace

absl::StatusOr<v1::RegisterResponse> Coordinator::Register(const v1::RegisterRequest& request) {
  HONE_RETURN_IF_ERROR(CheckSize(request.ByteSizeLong()));
  auto response = Execute([&](Core& core, absl::Time now) { return core.Register(request, now); });
  if (response.ok()) {
    HONE_INFO << "member " << response->member_id() << " (" << request.name() << ", " << request.address()
              << ") registered";
  } else {
    HONE_WARNING << "member " << request.name() << " refused: " << std::string(response.status().message());
  }
  return response;
}

absl::Status Coordinator::Heartbeat(const v1::HeartbeatRequest& request) {
  // Changes nothing that others wait for and rests on nothing durable: members live on while the journal stalls.
  const std::lock_guard lock(mutex_);
  return core_->Heartbeat(request, Now());
}

absl::StatusOr<v1::LeaseGroupsResponse> Coordinator::LeaseGroups(const v1::LeaseGroupsRequest& request,
                                                                 const Cancelled& cancelled) {
  return Poll(
      FromProtoDuration(request.wait()), cancelled,
      [&, again = false](Core& core, absl::Time now) mutable -> absl::StatusOr<v1::LeaseGroupsResponse> {
        // Tasks given to nobody would wait until they are leased again.
        if (cancelled && cancelled()) return absl::CancelledError("the caller is gone");
        return core.LeaseGroups(request, std::exchange(again, true), now);
      },
      [](const v1::LeaseGroupsResponse& response) { return response.tasks_size() > 0; });
}

absl::StatusOr<v1::SubmitGroupResponse> Coordinator::SubmitGroup(const v1::SubmitGroupRequest& request) {
  // Of too large a group the core wants to know: it must not come again for ever.
  HONE_CRASH_POINT("submit.before_journal");
  auto response = Execute([&](Core& core, absl::Time now) { return core.SubmitGroup(request, now); });
  HONE_CRASH_POINT("submit.before_ack");
  if (!response.ok() || !response->accepted()) {
    HONE_WARNING << "group " << request.group().group_id() << " (prompt " << request.group().prompt_id() << ") of "
                 << request.group().worker()
                 << " refused: " << (response.ok() ? response->reason() : std::string(response.status().message()));
  }
  return response;
}

absl::Status Coordinator::DeclineGroup(const v1::DeclineGroupRequest& request) {
  HONE_RETURN_IF_ERROR(CheckSize(request.ByteSizeLong()));
  const absl::Status status = Execute([&](Core& core, absl::Time now) { return core.DeclineGroup(request, now); });
  // As a rule another worker takes the group; where none can, the ticker says so.
  HONE_DEBUG << "group " << request.group_id() << " declined by " << request.member_id() << ": " << request.reason();
  return status;
}

absl::StatusOr<v1::NextWorkResponse> Coordinator::NextWork(const v1::NextWorkRequest& request,
                                                           const Cancelled& cancelled) {
  return Poll(
      FromProtoDuration(request.wait()), cancelled,
      [&](Core& core, absl::Time now) { return core.NextWork(request, now); },
      [](const v1::NextWorkResponse& response) { return response.has_work(); });
}

absl::StatusOr<v1::PublishVersionResponse> Coordinator::PublishVersion(const v1::PublishVersionRequest& request) {
  HONE_RETURN_IF_ERROR(CheckSize(request.ByteSizeLong()));
  HONE_CRASH_POINT("publish.before_journal");
  auto response = Execute([&](Core& core, absl::Time now) { return core.PublishVersion(request, now); });
  HONE_CRASH_POINT("publish.before_ack");
  if (response.status().code() == absl::StatusCode::kDataLoss) {
    HONE_ERROR << "ALARM: " << std::string(response.status().message());
  }
  return response;
}

absl::StatusOr<v1::AwaitReleaseResponse> Coordinator::AwaitRelease(const v1::AwaitReleaseRequest& request,
                                                                   const Cancelled& cancelled) {
  v1::AwaitReleaseResponse response;
  HONE_ASSIGN_OR_RETURN(const v1::Directive directive,
                        Poll(
                            FromProtoDuration(request.wait()), cancelled,
                            [&](Core& core, absl::Time now) { return core.AwaitRelease(request, now); }, IsAnswer));
  response.set_directive(directive);
  return response;
}

absl::Status Coordinator::FetchBatch(const v1::FetchBatchRequest& request, const Cancelled& cancelled,
                                     const std::function<bool(const v1::FetchBatchResponse&)>& send) {
  HONE_ASSIGN_OR_RETURN(const BatchAnswer answer,
                        Poll(
                            FromProtoDuration(request.wait()), cancelled,
                            [&](Core& core, absl::Time now) { return core.FetchBatch(request, now); },
                            [](const BatchAnswer& batch) { return IsAnswer(batch.directive); }));
  v1::FetchBatchResponse first;
  first.set_directive(answer.directive);
  first.set_group_count(static_cast<int32_t>(answer.positions.size()));
  first.set_journal_position(answer.journal_position);
  if (!send(first)) return absl::OkStatus();
  for (const int64_t position : answer.positions) {
    HONE_ASSIGN_OR_RETURN(const std::string payload, journal_->Read(position));
    v1::JournalRecord record;
    if (!record.ParseFromString(payload) || !record.has_group_recorded()) {
      return absl::DataLossError("journal position " + std::to_string(position) + ": expected a group of step " +
                                 std::to_string(request.step()));
    }
    v1::FetchBatchResponse next;
    *next.mutable_group() = std::move(*record.mutable_group_recorded()->mutable_group());
    if (!send(next)) return absl::OkStatus();
    HONE_CRASH_POINT("batch.between_groups");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ReportStepResponse> Coordinator::ReportStep(const v1::ReportStepRequest& request) {
  HONE_RETURN_IF_ERROR(CheckSize(request.ByteSizeLong()));
  HONE_CRASH_POINT("step.before_journal");
  HONE_ASSIGN_OR_RETURN(const v1::Directive directive,
                        Execute([&](Core& core, absl::Time now) { return core.ReportStep(request, now); }));
  HONE_CRASH_POINT("step.before_ack");
  v1::ReportStepResponse response;
  response.set_directive(directive);
  return response;
}

absl::StatusOr<v1::ReportCheckpointResponse> Coordinator::ReportCheckpoint(const v1::ReportCheckpointRequest& request) {
  HONE_RETURN_IF_ERROR(CheckSize(request.ByteSizeLong()));
  HONE_CRASH_POINT("checkpoint.before_journal");
  auto response = Execute([&](Core& core, absl::Time now) { return core.ReportCheckpoint(request, now); });
  HONE_CRASH_POINT("checkpoint.before_ack");
  return response;
}

absl::Status Coordinator::FinishWork(const v1::FinishWorkRequest& request) {
  HONE_RETURN_IF_ERROR(CheckSize(request.ByteSizeLong()));
  HONE_CRASH_POINT("finish.before_journal");
  const absl::Status status = Execute([&](Core& core, absl::Time now) { return core.FinishWork(request, now); });
  HONE_CRASH_POINT("finish.before_ack");
  return status;
}

}  // namespace hone::coordinator
