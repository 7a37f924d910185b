#include "learner/testing/fake_coordinator.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "learner/testing/fake_rollout.h"
#include "model/config.h"
#include "rpc/status.h"

namespace hone::learner {

FakeCoordinator::FakeCoordinator(v1::LearnerWork work) : work_(std::move(work)) {}

template <typename Request>
grpc::Status FakeCoordinator::CheckEpoch(const Request& request) const {
  if (request.learner_epoch() == epoch_) return grpc::Status::OK;
  return grpc::Status(grpc::StatusCode::ABORTED, absl::StrCat("epoch ", request.learner_epoch(), " is not ", epoch_));
}

FakeCoordinator::Record FakeCoordinator::record() const {
  std::lock_guard lock(mutex_);
  return record_;
}

bool FakeCoordinator::AwaitFinished(absl::Duration timeout) const {
  std::unique_lock lock(mutex_);
  return finished_.wait_for(lock, absl::ToChronoMilliseconds(timeout), [this] { return record_.finished.has_value(); });
}

void FakeCoordinator::Reopen() {
  std::lock_guard lock(mutex_);
  record_.finished.reset();
}

void FakeCoordinator::Fence() {
  std::lock_guard lock(mutex_);
  ++epoch_;
}

grpc::Status FakeCoordinator::Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                                       v1::RegisterResponse* response) {
  std::lock_guard lock(mutex_);
  if (request->role() != v1::MEMBER_ROLE_LEARNER || request->numerics_keys_size() != 2) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "expected a learner with two numerics keys");
  }
  ++record_.registrations;
  ++epoch_;
  address_ = request->address();
  response->set_member_id(absl::StrCat("learner-", epoch_));
  response->set_learner_epoch(epoch_);
  response->mutable_heartbeat_interval()->set_nanos(100'000'000);
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest*, v1::HeartbeatResponse*) {
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::NextWork(grpc::ServerContext*, const v1::NextWorkRequest* request,
                                       v1::NextWorkResponse* response) {
  {
    std::lock_guard lock(mutex_);
    if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
    if (!record_.finished.has_value()) {
      *response->mutable_work() = work_;
      if (!record_.checkpoints.empty() && work_.kind() == v1::WORK_KIND_TRAIN) {
        response->mutable_work()->set_resume_checkpoint(record_.checkpoints.rbegin()->second);
        response->mutable_work()->set_resume_step(record_.checkpoints.rbegin()->first);
      }
      return grpc::Status::OK;
    }
  }
  absl::SleepFor(absl::Milliseconds(20));  // the long poll, cut short
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::PublishVersion(grpc::ServerContext*, const v1::PublishVersionRequest* request,
                                             v1::PublishVersionResponse* response) {
  std::lock_guard lock(mutex_);
  if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
  if (request->version().number() != work_.first_version() + request->step()) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "version number does not fit the step");
  }
  record_.calls.push_back(absl::StrCat("publish ", request->step()));
  const auto [entry, added] = record_.published.emplace(request->step(), request->version().root_hash());
  if (!added && entry->second != request->version().root_hash()) {
    ++record_.alarms;
    return grpc::Status(grpc::StatusCode::DATA_LOSS, "published before with another root hash");
  }
  response->set_evaluation_due(evaluation_due && evaluation_due(request->step()));
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::AwaitRelease(grpc::ServerContext*, const v1::AwaitReleaseRequest* request,
                                           v1::AwaitReleaseResponse* response) {
  std::lock_guard lock(mutex_);
  if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
  record_.calls.push_back(absl::StrCat("release ", request->version() - work_.first_version()));
  response->set_directive(on_await_release ? on_await_release(request->version()) : v1::DIRECTIVE_CONTINUE);
  return grpc::Status::OK;
}

int32_t FakeCoordinator::SamplingStep(int32_t step) const {
  const bool behind = work_.spec().stages(0).rl().mode() == v1::RL_MODE_ONE_STEP_OFF;
  return std::max(0, step - (behind ? 2 : 1));
}

absl::StatusOr<std::vector<v1::Group>> FakeCoordinator::MakeGroups(int32_t step, const std::string& root_hash,
                                                                   const std::string& address) {
  const int64_t version = work_.first_version() + SamplingStep(step);
  const WeightReceiver::Request request = {
      .address = address, .run = work_.run(), .version = version, .root_hash = root_hash, .timeout = absl::Seconds(30)};
  HONE_ASSIGN_OR_RETURN(const auto snapshot, receiver_.Receive(request));
  HONE_ASSIGN_OR_RETURN(const model::ModelConfig config,
                        model::ParseModelConfig(snapshot->model_files().at("config.json"), ""));
  const bool bf16 = work_.spec().numerics().dtype() == v1::DTYPE_BF16;
  model::ComputeWeights weights(*kernels_, config, bf16 ? kernels::DType::kBf16 : kernels::DType::kF32, false);
  HONE_RETURN_IF_ERROR(snapshot->VisitTensors(*kernels_, [&](std::string_view name, std::span<const float> values) {
    return weights.LoadTensor(name, values.data(), static_cast<int64_t>(values.size()));
  }));
  HONE_RETURN_IF_ERROR(receiver_.Acknowledge(request, "worker", *snapshot));
  return FakeRollout(*kernels_, weights,
                     {.version = version, .root_hash = root_hash, .stream = static_cast<uint64_t>(step)});
}

grpc::Status FakeCoordinator::FetchBatch(grpc::ServerContext*, const v1::FetchBatchRequest* request,
                                         grpc::ServerWriter<v1::FetchBatchResponse>* writer) {
  v1::FetchBatchResponse first;
  std::string root_hash, address;
  bool journaled = false;
  {
    std::lock_guard lock(mutex_);
    if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
    record_.calls.push_back(absl::StrCat("fetch ", request->step()));
    first.set_directive(on_fetch_batch ? on_fetch_batch(request->step()) : v1::DIRECTIVE_CONTINUE);
    const auto published = record_.published.find(SamplingStep(request->step()));
    if (published == record_.published.end()) {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "the version of the step before was not published");
    }
    root_hash = published->second;
    address = address_;
    journaled = journal_.contains(request->step());
  }
  if (first.directive() != v1::DIRECTIVE_CONTINUE) {
    writer->Write(first);
    return grpc::Status::OK;
  }
  std::vector<v1::Group> groups;
  if (!journaled) {
    auto made = MakeGroups(request->step(), root_hash, address);
    if (!made.ok()) return ToGrpc(made.status());
    groups = *std::move(made);
  }
  {
    std::lock_guard lock(mutex_);
    if (!journaled) journal_.emplace(request->step(), std::move(groups));
    groups = journal_.at(request->step());
  }
  first.set_group_count(static_cast<int32_t>(groups.size()));
  first.set_journal_position(1000 * request->step());
  writer->Write(first);
  for (v1::Group& group : groups) {
    v1::FetchBatchResponse message;
    *message.mutable_group() = std::move(group);
    writer->Write(message);
  }
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::ReportStep(grpc::ServerContext*, const v1::ReportStepRequest* request,
                                         v1::ReportStepResponse* response) {
  std::lock_guard lock(mutex_);
  if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
  record_.calls.push_back(absl::StrCat("report ", request->step()));
  record_.steps_total = request->steps_total();
  record_.metrics[request->step()] = {request->metrics().begin(), request->metrics().end()};
  response->set_directive(on_report_step ? on_report_step(request->step()) : v1::DIRECTIVE_CONTINUE);
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::ReportCheckpoint(grpc::ServerContext*, const v1::ReportCheckpointRequest* request,
                                               v1::ReportCheckpointResponse* response) {
  std::lock_guard lock(mutex_);
  if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
  record_.calls.push_back(absl::StrCat("checkpoint ", request->step()));
  record_.checkpoints[request->step()] = request->path();
  // The newest two stay, and the one that holds the reference.
  const int32_t every = work_.spec().stages(0).rl().algorithm().reference_refresh_steps();
  const int32_t reference = every > 0 ? request->step() / every * every : 0;
  const auto newest = std::prev(record_.checkpoints.end(), std::min<ptrdiff_t>(2, std::ssize(record_.checkpoints)));
  for (auto it = record_.checkpoints.begin(); it != newest;) {
    if (it->first == reference) {
      ++it;
      continue;
    }
    response->add_obsolete_paths(it->second);
    it = record_.checkpoints.erase(it);
  }
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::FinishWork(grpc::ServerContext*, const v1::FinishWorkRequest* request,
                                         v1::FinishWorkResponse*) {
  std::lock_guard lock(mutex_);
  if (grpc::Status status = CheckEpoch(*request); !status.ok()) return status;
  record_.finished = *request;
  finished_.notify_all();
  return grpc::Status::OK;
}

}  // namespace hone::learner
