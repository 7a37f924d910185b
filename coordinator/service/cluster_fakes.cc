#include "coordinator/service/cluster_fakes.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <chrono>

#include "base/sha256.h"
#include "rpc/channel.h"

namespace hone::coordinator {
namespace {

constexpr int32_t kCheckpointEvery = 2;

void Wait(google::protobuf::Duration* wait) { wait->set_nanos(300'000'000); }

}  // namespace

FakeMember::FakeMember(const std::string& address, v1::MemberRole role, std::string name)
    : name_(std::move(name)), role_(role), stub_(v1::CoordinatorService::NewStub(CreateChannel(address))) {}

FakeMember::~FakeMember() { Stop(); }

void FakeMember::Stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void FakeMember::Start(std::function<void()> body) { thread_ = std::thread(std::move(body)); }

template <typename Request, typename Response>
grpc::Status FakeMember::Call(grpc::Status (v1::CoordinatorService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                                   Response*),
                              const Request& request, Response* response) {
  while (true) {
    grpc::ClientContext context;
    const grpc::Status status = (stub_.get()->*method)(&context, request, response);
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE || stopping_) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the coordinator is away
  }
}

bool FakeMember::Register() {
  v1::RegisterRequest request;
  request.set_role(role_);
  request.set_name(name_);
  request.set_address(name_ + ":1");
  request.add_numerics_keys("fake/fp32");
  v1::RegisterResponse response;
  while (!stopping_) {
    if (!Call(&v1::CoordinatorService::Stub::Register, request, &response).ok()) continue;
    member_id_ = response.member_id();
    epoch_ = response.learner_epoch();
    return true;
  }
  return false;
}

FakeRewardServer::FakeRewardServer(const std::string& address)
    : FakeMember(address, v1::MEMBER_ROLE_REWARD_SERVER, "reward") {
  Start([this] {
    Register();
    while (!stopping()) {
      v1::HeartbeatRequest request;
      request.set_member_id(member_id_);
      v1::HeartbeatResponse response;
      if (!Call(&v1::CoordinatorService::Stub::Heartbeat, request, &response).ok()) Register();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
}

FakeWorker::FakeWorker(const std::string& address, const std::string& name, int max_groups)
    : FakeWorker(address, name, max_groups, Habits()) {}

FakeWorker::FakeWorker(const std::string& address, const std::string& name, int max_groups, Habits habits)
    : FakeMember(address, v1::MEMBER_ROLE_ROLLOUT_WORKER, name), groups_left_(max_groups), habits_(std::move(habits)) {
  Start([this] {
    while (Register()) Work();
  });
}

void FakeWorker::Work() {
  while (!stopping()) {
    v1::LeaseGroupsRequest request;
    request.set_member_id(member_id_);
    request.set_max_groups(std::min(groups_left_, 3));
    Wait(request.mutable_wait());
    v1::LeaseGroupsResponse response;
    if (!Call(&v1::CoordinatorService::Stub::LeaseGroups, request, &response).ok()) return;
    for (const v1::GroupTask& task : response.tasks()) {
      --groups_left_;
      if (!habits_.decline.empty()) {
        if (!Decline(task)) return;
        continue;
      }
      for (const v1::TaskContext& context : response.contexts()) {
        if (context.context_id() == task.context_id() && !Submit(task, context)) return;
      }
    }
  }
}

bool FakeWorker::Decline(const v1::GroupTask& task) {
  v1::DeclineGroupRequest request;
  request.set_member_id(member_id_);
  request.set_group_id(task.group_id());
  request.set_reason(habits_.decline);
  v1::DeclineGroupResponse response;
  return Call(&v1::CoordinatorService::Stub::DeclineGroup, request, &response).ok();
}

bool FakeWorker::Submit(const v1::GroupTask& task, const v1::TaskContext& context) {
  v1::SubmitGroupRequest request;
  request.set_member_id(member_id_);
  request.set_context_id(task.context_id());
  v1::Group& group = *request.mutable_group();
  group.set_run(context.run());
  group.set_stage(context.stage());
  group.set_group_id(task.group_id());
  group.set_attempt(task.attempt());
  group.set_prompt_id(task.prompt().id());
  group.set_prompt_text(task.prompt().prompt());
  group.set_answer(task.prompt().answer());
  group.add_prompt_tokens(1);
  group.set_worker(name_);
  group.set_state(v1::GROUP_STATE_COMPLETE);
  for (int i = 0; i < context.group_size(); ++i) {
    const std::string seed =
        Sha256Hex(context.version().root_hash() + std::to_string(task.group_id()) + std::to_string(i));
    v1::Trajectory& trajectory = *group.add_trajectories();
    trajectory.set_sample_index(i);
    trajectory.set_numerics_key("fake/fp32");
    trajectory.set_text(seed);
    for (int t = 0; t < 4; ++t) {
      trajectory.add_tokens(seed[static_cast<size_t>(t)]);
      trajectory.add_rollout_logprobs(habits_.logprob);
    }
    v1::SourceRun& source = *trajectory.add_sources();
    source.set_source(v1::TOKEN_SOURCE_SAMPLED);
    source.set_count(4);
    v1::VersionSegment& segment = *trajectory.add_segments();
    segment.set_version(context.version().number());
    segment.set_root_hash(context.version().root_hash());
    segment.set_count(4);
    trajectory.set_finish_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
    v1::Verdict& verdict = *trajectory.mutable_verdict();
    verdict.set_state(v1::REWARD_STATE_SCORED);
    verdict.set_reward(seed[0] % 2);
    v1::RewardComponent& component = *verdict.add_components();
    component.set_name("accuracy");
    component.set_state(v1::REWARD_STATE_SCORED);
    component.set_value(seed[0] % 2);
    component.set_weight(1);
  }
  v1::SubmitGroupResponse response;
  const grpc::Status status = Call(&v1::CoordinatorService::Stub::SubmitGroup, request, &response);
  // As a real worker does: a refused group's way is over, the worker's is not.
  return status.ok() || status.error_code() == grpc::StatusCode::INVALID_ARGUMENT;
}

FakeLearner::FakeLearner(const std::string& address, FakeDisk* disk)
    : FakeMember(address, v1::MEMBER_ROLE_LEARNER, "learner"), disk_(*disk) {
  Start([this] {
    while (Register()) Work();
  });
}

void FakeLearner::Work() {
  while (!stopping()) {
    v1::NextWorkRequest request;
    Fill(&request);
    Wait(request.mutable_wait());
    v1::NextWorkResponse response;
    if (!Call(&v1::CoordinatorService::Stub::NextWork, request, &response).ok()) return;
    if (!response.has_work()) continue;
    const v1::LearnerWork& work = response.work();
    if (work.kind() == v1::WORK_KIND_TRAIN) {
      if (!Train(work)) return;
      continue;
    }
    const std::string hash = StartHash(work);
    if (work.kind() == v1::WORK_KIND_SERVE && (!Publish(work, 0, hash) || !Await(work, work.first_version()))) {
      return;
    }
    if (!Finish(work, v1::WORK_OUTCOME_DONE, 0, work.kind() == v1::WORK_KIND_EXPORT ? "/export" : "", hash)) return;
  }
}

std::string FakeLearner::StartHash(const v1::LearnerWork& work) {
  const std::lock_guard lock(disk_.mutex);
  const std::string& path = work.has_resume_checkpoint() ? work.resume_checkpoint() : work.start().checkpoint_path();
  return path.empty() ? Sha256Hex("model " + work.start().model_path()) : disk_.hash_by_path.at(path);
}

bool FakeLearner::Train(const v1::LearnerWork& work) {
  const v1::StageSpec& stage = work.spec().stages(work.stage_index());
  const int32_t total = stage.has_rl() ? stage.rl().steps() : stage.pretrain().steps();
  std::string hash = StartHash(work);
  int32_t step = work.resume_step();
  if (!Publish(work, step, hash) || !Await(work, work.first_version() + step)) return false;
  while (step < total) {
    if (stage.has_rl()) {
      const v1::Directive directive = Fetch(work, step + 1, &hash);
      if (directive == v1::DIRECTIVE_STOP) {
        return Checkpoint(work, step, hash) && Finish(work, v1::WORK_OUTCOME_STOPPED, step, "", hash);
      }
      if (directive != v1::DIRECTIVE_CONTINUE) return false;
    } else {
      hash = Sha256Hex(hash + "supervised step");
    }
    ++step;
    if ((stage.has_rl() || step == total) &&
        (!Publish(work, step, hash) || !Await(work, work.first_version() + step))) {
      return false;
    }
    const v1::Directive directive = Report(work, step);
    if (step % kCheckpointEvery == 0 || directive == v1::DIRECTIVE_STOP) {
      if (!Checkpoint(work, step, hash)) return false;
    }
    if (directive == v1::DIRECTIVE_STOP) return Finish(work, v1::WORK_OUTCOME_STOPPED, step, "", hash);
    if (directive != v1::DIRECTIVE_CONTINUE) return false;
  }
  if (!Checkpoint(work, step, hash)) return false;
  const std::string path = work.output_dir() + "/checkpoints/" + stage.name() + "/" + std::to_string(step);
  return Finish(work, v1::WORK_OUTCOME_DONE, step, path, hash);
}

bool FakeLearner::Publish(const v1::LearnerWork& work, int32_t step, const std::string& hash) {
  v1::PublishVersionRequest request;
  Fill(&request);
  request.set_run(work.run());
  request.set_stage(work.spec().stages(work.stage_index()).name());
  request.set_step(step);
  request.mutable_version()->set_number(work.first_version() + step);
  request.mutable_version()->set_root_hash(hash);
  v1::PublishVersionResponse response;
  return Call(&v1::CoordinatorService::Stub::PublishVersion, request, &response).ok();
}

bool FakeLearner::Await(const v1::LearnerWork& work, int64_t version) {
  // In rl the batch itself waits for everything at its version.
  const v1::StageSpec& stage = work.spec().stages(work.stage_index());
  if (stage.has_rl() && version < work.first_version() + stage.rl().steps()) return true;
  v1::AwaitReleaseRequest request;
  Fill(&request);
  request.set_run(work.run());
  request.set_version(version);
  Wait(request.mutable_wait());
  v1::AwaitReleaseResponse response;
  while (!stopping()) {
    if (!Call(&v1::CoordinatorService::Stub::AwaitRelease, request, &response).ok()) return false;
    if (response.directive() != v1::DIRECTIVE_WAIT) return response.directive() == v1::DIRECTIVE_CONTINUE;
  }
  return false;
}

v1::Directive FakeLearner::Fetch(const v1::LearnerWork& work, int32_t step, std::string* hash) {
  v1::FetchBatchRequest request;
  Fill(&request);
  request.set_run(work.run());
  request.set_stage(work.spec().stages(work.stage_index()).name());
  request.set_step(step);
  Wait(request.mutable_wait());
  while (!stopping()) {
    grpc::ClientContext context;
    const auto reader = stub().FetchBatch(&context, request);
    v1::FetchBatchResponse message;
    v1::Directive directive = v1::DIRECTIVE_UNSPECIFIED;
    int32_t expected = 0;
    int32_t groups = 0;
    std::string text = *hash;
    while (reader->Read(&message)) {
      if (directive == v1::DIRECTIVE_UNSPECIFIED) {
        directive = message.directive();
        expected = message.group_count();
        continue;
      }
      ++groups;
      text += std::to_string(message.group().group_id());
      for (const v1::Trajectory& trajectory : message.group().trajectories()) text += trajectory.text();
    }
    const grpc::Status status = reader->Finish();
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    if (!status.ok()) return v1::DIRECTIVE_ABANDON;
    if (directive == v1::DIRECTIVE_WAIT) continue;
    if (directive == v1::DIRECTIVE_CONTINUE) {
      if (groups != expected) return v1::DIRECTIVE_ABANDON;
      *hash = Sha256Hex(text);
    }
    return directive;
  }
  return v1::DIRECTIVE_ABANDON;
}

v1::Directive FakeLearner::Report(const v1::LearnerWork& work, int32_t step) {
  v1::ReportStepRequest request;
  Fill(&request);
  request.set_run(work.run());
  request.set_stage(work.spec().stages(work.stage_index()).name());
  request.set_step(step);
  (*request.mutable_metrics())["loss/total"] = 1.0 / step;
  v1::ReportStepResponse response;
  while (!stopping()) {
    if (!Call(&v1::CoordinatorService::Stub::ReportStep, request, &response).ok()) return v1::DIRECTIVE_ABANDON;
    if (response.directive() != v1::DIRECTIVE_WAIT) return response.directive();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // paused
  }
  return v1::DIRECTIVE_ABANDON;
}

bool FakeLearner::Checkpoint(const v1::LearnerWork& work, int32_t step, const std::string& hash) {
  v1::ReportCheckpointRequest request;
  Fill(&request);
  request.set_run(work.run());
  request.set_stage(work.spec().stages(work.stage_index()).name());
  request.set_step(step);
  request.set_path(work.output_dir() + "/checkpoints/" + request.stage() + "/" + std::to_string(step));
  request.set_root_hash(hash);
  {
    const std::lock_guard lock(disk_.mutex);
    disk_.hash_by_path[request.path()] = hash;
  }
  v1::ReportCheckpointResponse response;
  return Call(&v1::CoordinatorService::Stub::ReportCheckpoint, request, &response).ok();
}

bool FakeLearner::Finish(const v1::LearnerWork& work, v1::WorkOutcome outcome, int32_t steps, const std::string& path,
                         const std::string& hash) {
  v1::FinishWorkRequest request;
  Fill(&request);
  request.set_work_id(work.work_id());
  request.set_outcome(outcome);
  request.set_steps(steps);
  request.set_path(path);
  request.set_root_hash(hash);
  v1::FinishWorkResponse response;
  return Call(&v1::CoordinatorService::Stub::FinishWork, request, &response).ok();
}

}  // namespace hone::coordinator
