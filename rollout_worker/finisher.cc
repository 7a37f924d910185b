#include "rollout_worker/finisher.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/crash_point.h"
#include "base/logging.h"
#include "base/strings.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "hone/v1/reward.grpc.pb.h"
#include "rollout_worker/group_text.h"
#include "rpc/channel.h"
#include "rpc/limits.h"
#include "rpc/membership.h"
#include "rpc/retry.h"
#include "rpc/status.h"

namespace hone {
namespace {

constexpr absl::Duration kScoreDeadline = absl::Seconds(120);
constexpr absl::Duration kSubmitDeadline = absl::Seconds(30);
// Reasons name numbers of tokens and the like, so a run may have many: beyond these the log has no use for more.
constexpr size_t kMaxWarnings = 64;

v1::ScoreGroupRequest MakeScoreRequest(const v1::TaskContext& context, const v1::Group& group) {
  v1::ScoreGroupRequest request;
  *request.mutable_rewards() = context.rewards();
  request.set_prompt(group.prompt_text());
  request.set_answer(group.answer());
  request.set_language(group.language());
  request.set_group_id(group.group_id());
  for (const v1::Trajectory& trajectory : group.trajectories()) {
    v1::Completion* completion = request.add_completions();
    completion->set_text(trajectory.text());
    completion->set_finish_reason(trajectory.finish_reason());
    completion->set_token_count(trajectory.tokens_size());
  }
  return request;
}

// Of the group's record, less what its way through the cluster adds: whether it can be handed in is a function of the
// run alone.
size_t RecordBytes(const v1::Group& group) {
  v1::Group way;
  way.set_attempt(group.attempt());
  way.set_worker(group.worker());
  way.set_generate_seconds(group.generate_seconds());
  way.set_reward_seconds(group.reward_seconds());
  return group.ByteSizeLong() - way.ByteSizeLong();  // a message's size is the sum of its fields'
}

void Drop(const std::string& reason, v1::Group* group) {
  group->clear_trajectories();
  group->set_state(v1::GROUP_STATE_DROPPED);
  group->set_drop_reason(reason);
}

// What no request can carry would be refused, made again, and so on for ever.
void DropWhatIsTooLarge(v1::Group* group) {
  const size_t bytes = RecordBytes(*group);
  if (bytes <= kMaxGroupBytes) return;
  Drop(absl::StrCat("size: the group's record has ", bytes, " bytes, at most ", kMaxGroupBytes,
                    " can be handed in: choose fewer or shorter samples (group_size, max_new_tokens)"),
       group);
}

// Of the coordinator's answers those that no repetition changes.
bool IsRefusal(const absl::Status& status) { return absl::IsInvalidArgument(status) || absl::IsUnimplemented(status); }

}  // namespace

Finisher::Finisher(Options options) : options_(std::move(options)) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

Finisher::~Finisher() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (grpc::ClientContext* call : calls_) call->TryCancel();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Finisher::Add(GeneratedGroup generated) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(generated));
  }
  changed_.notify_one();
}

void Finisher::SetRewardAddresses(std::vector<std::string> addresses) {
  std::lock_guard lock(mutex_);
  reward_alive_ = !addresses.empty();
  if (!reward_alive_ || addresses != reward_addresses_) no_verdict_since_ = absl::InfiniteFuture();
  if (!reward_alive_ || addresses == reward_addresses_) return;
  reward_addresses_ = std::move(addresses);
  reward_channels_.clear();
}

bool Finisher::cancelled() {
  std::lock_guard lock(mutex_);
  return stopping_;
}

absl::Status Finisher::Invoke(absl::Duration deadline, const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return absl::CancelledError("shutting down");
    calls_.insert(&context);
  }
  const absl::Status status = FromGrpc(call(&context));
  std::lock_guard lock(mutex_);
  calls_.erase(&context);
  return status;
}

void Finisher::Run() {
  for (;;) {
    GeneratedGroup generated;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      generated = std::move(queue_.front());
      queue_.pop_front();
    }
    Finish(std::move(generated));
  }
}

void Finisher::Finish(GeneratedGroup generated) {
  v1::Group& group = generated.group;
  if (!generated.declined.empty()) {
    if (Decline(group.group_id(), generated.declined)) options_.done(group.group_id());
    return;
  }
  if (group.state() == v1::GROUP_STATE_COMPLETE) {
    MakeTrajectories(&generated);
    DropWhatIsTooLarge(&group);  // before scoring: it would not fit a request to the reward server either
    HONE_CRASH_POINT("worker.before_score");
    std::string why;
    const Scoring scoring =
        group.state() == v1::GROUP_STATE_COMPLETE ? Score(*generated.context, &group, &why) : Scoring::kDone;
    for (v1::Trajectory& trajectory : *group.mutable_trajectories()) {
      PlaceSteps(*generated.text->tokenizer, &trajectory);
    }
    if (scoring == Scoring::kShutDown) return;
    if (scoring == Scoring::kOutOfReach) {
      HONE_ERROR << "group " << group.group_id() << " is declined, other workers may have it scored: " << why;
      if (Decline(group.group_id(), "no reward server can be reached from this worker: " + why)) {
        options_.done(group.group_id());
      }
      return;
    }
    DropWhatIsTooLarge(&group);  // verdicts have their size too
  }
  WarnOfLosses(group);
  HONE_CRASH_POINT("worker.before_submit");
  if (!Submit(*generated.context, &group)) return;
  HONE_CRASH_POINT("worker.after_submit");
  options_.done(group.group_id());
}

void Finisher::WarnOfLosses(const v1::Group& group) {
  if (group.state() == v1::GROUP_STATE_DROPPED) {
    WarnOnce(group, "the group is dropped, others may be for the same reason: " + group.drop_reason());
    return;
  }
  for (const v1::Trajectory& trajectory : group.trajectories()) {
    if (trajectory.verdict().state() != v1::REWARD_STATE_UNSCORABLE) continue;
    for (const v1::RewardComponent& component : trajectory.verdict().components()) {
      if (component.state() != v1::REWARD_STATE_UNSCORABLE) continue;
      WarnOnce(group, "a sample has no reward, others may have none for the same reason: " + component.name() + ": " +
                          component.reason());
    }
  }
}

void Finisher::WarnOnce(const v1::Group& group, const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    if (warned_run_ != group.run()) warned_.clear();
    warned_run_ = group.run();
    if (warned_.size() == kMaxWarnings || !warned_.insert(what).second) return;
  }
  HONE_WARNING << "run '" << group.run() << "', stage '" << group.stage() << "', prompt '" << group.prompt_id()
               << "': " << what;
}

void Finisher::MakeTrajectories(GeneratedGroup* generated) {
  const bool opened = engine::OpensThinking(generated->group.prompt_text());
  for (size_t i = 0; i < generated->result.samples.size(); ++i) {
    *generated->group.add_trajectories() =
        MakeTrajectory(generated->result.samples[i], static_cast<int>(i), opened, *generated->text->tokenizer,
                       generated->version, generated->numerics_key);
  }
}

// Servers in turn; null where none is known.
std::shared_ptr<grpc::Channel> Finisher::RewardChannel(size_t attempt) {
  std::lock_guard lock(mutex_);
  if (reward_addresses_.empty()) return nullptr;
  if (attempt == 0) ++next_reward_;
  const std::string& address = reward_addresses_[(next_reward_ + attempt) % reward_addresses_.size()];
  std::shared_ptr<grpc::Channel>& channel = reward_channels_[address];
  if (channel == nullptr) channel = CreateChannel(address);
  return channel;
}

// After a failed call.
bool Finisher::PatienceIsOver() {
  std::lock_guard lock(mutex_);
  if (!reward_alive_) return false;
  const absl::Time now = absl::Now();
  no_verdict_since_ = std::min(no_verdict_since_, now);
  return now - no_verdict_since_ > options_.patience;
}

Finisher::Scoring Finisher::Score(const v1::TaskContext& context, v1::Group* group, std::string* why) {
  if (context.rewards().empty()) {
    for (v1::Trajectory& trajectory : *group->mutable_trajectories()) {
      trajectory.mutable_verdict()->set_state(v1::REWARD_STATE_SCORED);
    }
    return Scoring::kDone;
  }
  const v1::ScoreGroupRequest request = MakeScoreRequest(context, *group);
  const auto is_cancelled = [this] { return cancelled(); };
  const absl::Time start = absl::Now();
  for (int attempt = 0; !cancelled(); ++attempt) {
    absl::Status status = absl::UnavailableError("no reward server is known yet");
    v1::ScoreGroupResponse response;
    if (const auto channel = RewardChannel(static_cast<size_t>(attempt)); channel != nullptr) {
      status = Invoke(kScoreDeadline, [&](grpc::ClientContext* call) {
        return v1::RewardService::NewStub(channel)->ScoreGroup(call, request, &response);
      });
    }
    if (status.ok() && response.verdicts_size() != group->trajectories_size()) {
      status = absl::InternalError("the reward server gave " + std::to_string(response.verdicts_size()) +
                                   " verdicts for " + std::to_string(group->trajectories_size()) + " completions");
    }
    if (status.ok()) {
      for (int i = 0; i < group->trajectories_size(); ++i) {
        group->mutable_trajectories(i)->mutable_verdict()->Swap(response.mutable_verdicts(i));
      }
      group->set_reward_seconds(absl::ToDoubleSeconds(absl::Now() - start));
      std::lock_guard lock(mutex_);
      no_verdict_since_ = absl::InfiniteFuture();
      return Scoring::kDone;
    }
    // Only a reward server's word on the request is final. Another error may come from a stranger that has a dead
    // server's address by now.
    if (absl::IsInvalidArgument(status)) {
      Drop("reward: the reward server refuses the group: " + std::string(status.message()), group);
      return Scoring::kDone;
    }
    if (PatienceIsOver()) {
      *why = status.ToString();
      return Scoring::kOutOfReach;
    }
    if (attempt == 3)
      HONE_WARNING << "group " << group->group_id() << " waits for a reward server: " << status.ToString();
    SleepUnless(is_cancelled, RetryPause(RetryPolicy(), attempt));
  }
  return Scoring::kShutDown;
}

bool Finisher::CallCoordinator(uint64_t group_id, const CoordinatorCall& call) {
  const auto is_cancelled = [this] { return cancelled(); };
  for (int attempt = 0; !cancelled(); ++attempt) {
    const std::string member_id = options_.membership->member_id();
    const absl::Status status =
        Invoke(kSubmitDeadline, [&](grpc::ClientContext* context) { return call(context, member_id); });
    if (status.ok()) return true;
    if (IsRefusal(status)) {
      HONE_ERROR << "group " << group_id << " was refused: " << status.ToString();
      return true;
    }
    if (absl::IsNotFound(status)) options_.membership->ReportLost(member_id);
    if (attempt == 3) HONE_WARNING << "group " << group_id << " waits to be handed in: " << status.ToString();
    SleepUnless(is_cancelled, RetryPause(RetryPolicy(), attempt));
  }
  return false;
}

bool Finisher::Submit(const v1::TaskContext& context, v1::Group* group) {
  const auto stub = v1::CoordinatorService::NewStub(options_.coordinator);
  return CallCoordinator(group->group_id(), [&](grpc::ClientContext* call, const std::string& member_id) {
    group->set_attempt(options_.newest_attempt(group->group_id(), group->attempt()));
    v1::SubmitGroupRequest request;
    request.set_member_id(member_id);
    request.set_context_id(context.context_id());
    *request.mutable_group() = *group;
    v1::SubmitGroupResponse response;
    grpc::Status status = stub->SubmitGroup(call, request, &response);
    if (status.ok() && !response.accepted())
      HONE_WARNING << "group " << group->group_id() << " was not accepted: " << response.reason();
    return status;
  });
}

bool Finisher::Decline(uint64_t group_id, const std::string& reason) {
  const auto stub = v1::CoordinatorService::NewStub(options_.coordinator);
  return CallCoordinator(group_id, [&](grpc::ClientContext* call, const std::string& member_id) {
    v1::DeclineGroupRequest request;
    request.set_member_id(member_id);
    request.set_group_id(group_id);
    request.set_reason(MendUtf8(reason));
    v1::DeclineGroupResponse response;
    return stub->DeclineGroup(call, request, &response);
  });
}

}  // namespace hone
