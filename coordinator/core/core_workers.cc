// Membership, leases and submitted groups.
#include <algorithm>
#include <set>

#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/record_time.h"
#include "coordinator/core/stage_plan.h"
#include "rpc/limits.h"

namespace hone::coordinator {
namespace {

// How the workers' reasons for prompts that are too long begin (rollout_worker/group_text.cc).
constexpr const char* kOverlongReason = "overlong: ";

static_assert(Core::kMaxLeaseBytes + kMaxRowBytes < kMaxMessageBytes);

std::string LearnerMemberId(int64_t epoch) { return "learner-" + std::to_string(epoch); }

absl::Status UnknownMember(const std::string& id) {
  return absl::NotFoundError("member '" + id + "' is unknown or was presumed dead: register again");
}

std::string JoinKeys(const std::vector<std::string>& keys) {
  std::string text;
  for (const std::string& key : keys) text += (text.empty() ? "" : ", ") + key;
  return text.empty() ? "(none)" : text;
}

}  // namespace

absl::StatusOr<v1::RegisterResponse> Core::Register(const v1::RegisterRequest& request, absl::Time now) {
  if (request.role() == v1::MEMBER_ROLE_UNSPECIFIED || !v1::MemberRole_IsValid(request.role())) {
    return absl::InvalidArgumentError("role: expected a member role, got " + std::to_string(request.role()));
  }
  if (members_.all().size() >= Members::kMaxMembers) {
    return absl::ResourceExhaustedError("the cluster has " + std::to_string(Members::kMaxMembers) +
                                        " members, the most that are taken");
  }
  v1::RegisterResponse response;
  *response.mutable_heartbeat_interval() = ToProtoDuration(options_.heartbeat_interval);
  if (request.role() != v1::MEMBER_ROLE_LEARNER) {
    if (request.role() == v1::MEMBER_ROLE_ROLLOUT_WORKER) {
      const std::vector<std::string> keys(request.numerics_keys().begin(), request.numerics_keys().end());
      HONE_RETURN_IF_ERROR(CheckWorkerKeys(keys));
    }
    response.set_member_id(members_.Add(request, now));
    return response;
  }
  v1::JournalRecord record;
  v1::LearnerEpochStarted& started = *record.mutable_learner_epoch_started();
  started.set_epoch(learner_.epoch + 1);
  started.set_name(request.name());
  started.set_address(request.address());
  *started.mutable_numerics_keys() = request.numerics_keys();
  members_.Remove(LearnerMemberId(learner_.epoch));
  Emit(std::move(record), now);
  learner_.seen = now;
  // What the fenced learner served is gone; its groups are opened again when the new one publishes.
  leases_.Clear();
  response.set_member_id(LearnerMemberId(learner_.epoch));
  response.set_learner_epoch(learner_.epoch);
  members_.AddAs(response.member_id(), request, now);
  Advance(now);
  return response;
}

std::vector<std::string> Core::KeysOf(const RunState& run) const {
  const std::string dtype = run.spec().numerics().dtype() == v1::DTYPE_BF16 ? "/bf16/" : "/f32/";
  std::vector<std::string> keys;
  for (const std::string& key : learner_.numerics_keys) {
    if (key.find(dtype) != std::string::npos) keys.push_back(key);
  }
  return keys.empty() ? learner_.numerics_keys : keys;
}

absl::Status Core::CheckWorkerKeys(const std::vector<std::string>& keys) const {
  const RunState* run = ActiveRun();
  if (run == nullptr || learner_.numerics_keys.empty()) return absl::OkStatus();
  const std::vector<std::string> needed = KeysOf(*run);
  for (const std::string& key : keys) {
    if (std::find(needed.begin(), needed.end(), key) != needed.end()) return absl::OkStatus();
  }
  return absl::FailedPreconditionError("numerics_keys: run '" + run->name() + "' needs one of " + JoinKeys(needed) +
                                       ", got " + JoinKeys(keys));
}

// For a worker that registered before a learner did whose key it has not. Registering again will tell it what does not
// fit.
absl::Status Core::DismissWorker(const std::string& id) {
  leases_.ReleaseExcept(id, {});
  members_.Remove(id);
  return UnknownMember(id);
}

absl::Status Core::Heartbeat(const v1::HeartbeatRequest& request, absl::Time now) {
  if (learner_.epoch > 0 && request.member_id() == LearnerMemberId(learner_.epoch)) {
    // Silence alone does not fence a learner: only its successor's registration does.
    HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), learner_.epoch, now));
  }
  MemberState* member = members_.Find(request.member_id());
  if (member == nullptr) return UnknownMember(request.member_id());
  if (member->role == v1::MEMBER_ROLE_ROLLOUT_WORKER) {
    if (!CheckWorkerKeys(member->numerics_keys).ok()) return DismissWorker(request.member_id());
    leases_.Renew(request.member_id(), now + options_.lease);
  }
  member->last_seen = now;
  member->gauges = std::map<std::string, double>(request.gauges().begin(), request.gauges().end());
  return absl::OkStatus();
}

absl::StatusOr<v1::LeaseGroupsResponse> Core::LeaseGroups(const v1::LeaseGroupsRequest& request, bool again,
                                                          absl::Time now) {
  MemberState* member = members_.Find(request.member_id());
  if (member == nullptr || member->role != v1::MEMBER_ROLE_ROLLOUT_WORKER) return UnknownMember(request.member_id());
  if (request.max_groups() < 0) {
    return absl::InvalidArgumentError("max_groups: expected at least 0, got " + std::to_string(request.max_groups()));
  }
  member->last_seen = now;
  if (!again) leases_.ReleaseExcept(request.member_id(), {request.holding().begin(), request.holding().end()});
  leases_.Renew(request.member_id(), now + options_.lease);
  v1::LeaseGroupsResponse response;
  *response.mutable_lease() = ToProtoDuration(options_.lease);
  const std::vector<std::string> reward_addresses = members_.RewardAddresses();
  const RunState* run = ActiveRun();
  // A group that nobody can score would only wait inside the worker.
  if (run == nullptr || run->state() != v1::RUN_STATE_RUNNING || reward_addresses.empty()) return response;
  if (!CheckWorkerKeys(member->numerics_keys).ok()) return DismissWorker(request.member_id());
  std::set<std::string> named;
  for (v1::GroupTask& task : leases_.Lease(request.member_id(), std::min(request.max_groups(), kMaxGroupsPerLease),
                                           kMaxLeaseBytes, now + options_.lease)) {
    named.insert(task.context_id());
    *response.add_tasks() = std::move(task);
  }
  for (const auto& [key, set] : leases_.sets()) {
    if (named.contains(set.context.context_id())) *response.add_contexts() = set.context;
  }
  for (const std::string& address : reward_addresses) response.add_reward_addresses(address);
  return response;
}

// The answer for a group that is not outstanding: an honest retry hears that it was accepted, everyone else why not.
v1::SubmitGroupResponse Core::AnswerRecorded(const v1::Group& group) const {
  v1::SubmitGroupResponse response;
  const RunState* run = FindRun(group.run());
  const int stage = run == nullptr ? -1 : run->StageIndex(group.stage());
  if (stage >= 0) {
    const StageState& state = run->stage(stage);
    for (const auto* groups : {&state.train_groups, &state.evaluation_groups}) {
      for (const auto& [step, slots] : *groups) {
        for (const auto& [slot, recorded] : slots) {
          if (recorded.group_id != group.group_id()) continue;
          response.set_accepted(recorded.attempt == group.attempt() && recorded.worker == group.worker());
          if (!response.accepted()) {
            response.set_reason("recorded already, by attempt " + std::to_string(recorded.attempt) + " of " +
                                recorded.worker);
          }
          return response;
        }
      }
    }
  }
  response.set_reason("not outstanding: its step is over, or the learner went back to an earlier one");
  return response;
}

absl::StatusOr<v1::SubmitGroupResponse> Core::SubmitGroup(const v1::SubmitGroupRequest& request, absl::Time now) {
  const v1::Group& group = request.group();
  if (group.attempt() < 1) {
    return absl::InvalidArgumentError("group.attempt: expected at least 1, got " + std::to_string(group.attempt()));
  }
  if (MemberState* member = members_.Find(request.member_id())) member->last_seen = now;
  const LeaseTable::Item* item = leases_.Find(group.group_id());
  if (item == nullptr) return AnswerRecorded(group);
  const WorkSet& set = leases_.SetOf(*item);
  if (group.run() != set.context.run() || group.stage() != set.context.stage()) {
    return absl::InvalidArgumentError("group.run, group.stage: expected " + set.context.run() + "/" +
                                      set.context.stage() + ", got " + group.run() + "/" + group.stage());
  }
  const Refusal refusal = CheckSubmission(request, set.context, KeysOf(*FindRun(set.context.run())));
  if (refusal.kind != Refusal::Kind::kNone) return Refuse(group, *item, refusal, now);
  v1::JournalRecord record;
  v1::GroupRecorded& recorded = *record.mutable_group_recorded();
  recorded.set_run(set.context.run());
  recorded.set_stage(set.context.stage());
  recorded.set_step(set.step);
  recorded.set_slot(item->slot);
  recorded.set_purpose(set.context.purpose());
  *recorded.mutable_group() = group;
  const bool fails_run = group.state() == v1::GROUP_STATE_DROPPED &&
                         set.context.overlong() == v1::OVERLONG_POLICY_FAIL &&
                         group.drop_reason().starts_with(kOverlongReason);
  const int key = item->set;
  const bool trains = set.context.purpose() == v1::GROUP_PURPOSE_TRAIN;
  leases_.MarkDone(group.group_id());
  if (fails_run) {
    // Not recorded: a run that is resumed asks for the group again, and fails again where nothing has changed.
    FailRun(group.run(), "prompt '" + group.prompt_id() + "': " + group.drop_reason(), now);
  } else {
    Emit(std::move(record), now);
    if (trains) {
      const RunState& run = *FindRun(group.run());
      OpenNextWave(run, run.StageIndex(group.stage()), key);
    }
  }
  Advance(now);
  v1::SubmitGroupResponse response;
  response.set_accepted(true);
  return response;
}

absl::Status Core::DeclineGroup(const v1::DeclineGroupRequest& request, absl::Time now) {
  MemberState* member = members_.Find(request.member_id());
  if (member == nullptr || member->role != v1::MEMBER_ROLE_ROLLOUT_WORKER) return UnknownMember(request.member_id());
  if (request.reason().empty()) return absl::InvalidArgumentError("reason: missing");
  member->last_seen = now;
  leases_.Decline(request.group_id(), request.member_id(), "worker '" + member->name + "': " + request.reason());
  return absl::OkStatus();
}

// A worker that could do the group may only be on its way (at the start, or after a crash), so none is missed before
// the grace is over. Time in which the run is not carried out does not count.
void Core::FailStranded(absl::Time now) {
  const RunState* run = ActiveRun();
  const bool running = run != nullptr && run->state() == v1::RUN_STATE_RUNNING;
  leases_.NoteWorkers(running ? members_.WorkerIds() : std::vector<std::string>(), now);
  const LeaseTable::Item* item = leases_.LongestStranded();
  if (item == nullptr || now - item->stranded_since < options_.decline_grace) return;
  const WorkSet& set = leases_.SetOf(*item);
  FailRun(run->name(),
          "stage '" + set.context.stage() + "': no rollout worker can do " + DescribeTask(set, item->slot) + ": " +
              item->decline_reason,
          now);
}

// Whoever asks next makes the group again, as another attempt.
absl::StatusOr<v1::SubmitGroupResponse> Core::Refuse(const v1::Group& group, const LeaseTable::Item& item,
                                                     const Refusal& refusal, absl::Time now) {
  if (refusal.kind == Refusal::Kind::kOtherLineage) {
    leases_.Release(group.group_id());
    v1::SubmitGroupResponse response;
    response.set_reason(refusal.reason);
    return response;
  }
  if (leases_.Refuse(group.group_id(), group.attempt()) >= kMaxRefusals) {
    // The same weights make the same group: to lease it again would go on for ever.
    const WorkSet& set = leases_.SetOf(item);
    const std::string run = set.context.run();
    FailRun(run,
            "stage '" + set.context.stage() + "': " + DescribeTask(set, item.slot) + " was refused " +
                std::to_string(kMaxRefusals) + " times, at last from worker '" + group.worker() +
                "': " + refusal.reason + (refusal.hint.empty() ? "" : ". " + refusal.hint),
            now);
  }
  return absl::InvalidArgumentError("group: " + refusal.reason);
}

absl::Status Core::CheckLearner(const std::string& member_id, int64_t epoch, absl::Time now) {
  if (epoch != learner_.epoch || member_id != LearnerMemberId(epoch)) {
    return absl::AbortedError("learner epoch " + std::to_string(epoch) + " of member '" + member_id +
                              "' is fenced: the current epoch is " + std::to_string(learner_.epoch));
  }
  learner_.seen = now;
  MemberState* member = members_.Find(member_id);
  if (member == nullptr) {
    v1::RegisterRequest known;
    known.set_role(v1::MEMBER_ROLE_LEARNER);
    known.set_name(learner_.name);
    known.set_address(learner_.address);
    for (const std::string& key : learner_.numerics_keys) known.add_numerics_keys(key);
    members_.AddAs(member_id, known, now);
    return absl::OkStatus();
  }
  member->last_seen = now;
  return absl::OkStatus();
}

}  // namespace hone::coordinator
