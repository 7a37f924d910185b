// Commands of the control API, and what it shows.
#include <algorithm>

#include "base/status.h"
#include "base/strings.h"
#include "coordinator/core/core.h"
#include "coordinator/core/record_time.h"
#include "coordinator/core/stage_plan.h"
#include "coordinator/run_config/schema_words.h"

namespace hone::coordinator {
namespace {

absl::Status WrongState(const RunState& run, const std::string& action) {
  return absl::FailedPreconditionError("run '" + run.name() + "' is " + RunStateName(run.state()) + ": cannot " +
                                       action + " it");
}

// The paths of a run enter the journal and what the learner is told, both of which hold UTF-8 only.
absl::Status CheckPath(const std::string& what, const std::string& path) {
  if (IsValidUtf8(path)) return absl::OkStatus();
  return absl::InvalidArgumentError(what + ": expected UTF-8, got '" + MendUtf8(path) + "'");
}

}  // namespace

absl::Status Core::CreateRun(const v1::RunCreated& request, PromptSets prompts, absl::Time now, bool* existed) {
  const std::string known = RunOfRequest(request.request_id());
  *existed = known == request.run() && !known.empty();
  if (*existed) return absl::OkStatus();
  if (!known.empty()) {
    return absl::AlreadyExistsError("request id '" + request.request_id() + "' was used for run '" + known + "'");
  }
  HONE_RETURN_IF_ERROR(CheckPath("the coordinator's working directory", options_.working_directory));
  HONE_RETURN_IF_ERROR(CheckPath("output_dir", request.output_dir()));
  for (const auto& run : runs_) {
    if (run->name() == request.run()) return absl::AlreadyExistsError("a run named '" + run->name() + "' exists");
    if (run->output_dir() == request.output_dir()) {
      return absl::AlreadyExistsError("output folder " + request.output_dir() + " belongs to run '" + run->name() +
                                      "'");
    }
  }
  v1::JournalRecord record;
  *record.mutable_run_created() = request;
  Emit(std::move(record), now);
  SetPrompts(request.run(), std::move(prompts));
  Advance(now);
  return absl::OkStatus();
}

absl::Status Core::PauseRun(const std::string& name, absl::Time now) {
  auto run = GetRun(name);
  if (!run.ok()) return run.status();
  if ((*run)->state() == v1::RUN_STATE_PAUSED) return absl::OkStatus();
  if ((*run)->state() != v1::RUN_STATE_RUNNING) return WrongState(**run, "pause");
  SetState(**run, v1::RUN_STATE_PAUSED, "", now);
  return absl::OkStatus();
}

absl::Status Core::ResumeRun(const std::string& name, absl::Time now) {
  auto run = GetRun(name);
  if (!run.ok()) return run.status();
  const v1::RunState state = (*run)->state();
  if (state == v1::RUN_STATE_RUNNING || state == v1::RUN_STATE_QUEUED) return absl::OkStatus();
  if (state == v1::RUN_STATE_STOPPING || state == v1::RUN_STATE_SUCCEEDED) return WrongState(**run, "resume");
  SetState(**run, state == v1::RUN_STATE_PAUSED ? v1::RUN_STATE_RUNNING : v1::RUN_STATE_QUEUED, "", now);
  Advance(now);
  return absl::OkStatus();
}

absl::Status Core::StopRun(const std::string& name, absl::Time now) {
  auto run = GetRun(name);
  if (!run.ok()) return run.status();
  const v1::RunState state = (*run)->state();
  if (state == v1::RUN_STATE_STOPPING || state == v1::RUN_STATE_STOPPED) return absl::OkStatus();
  if ((*run)->HasEnded()) return WrongState(**run, "stop");
  SetState(**run, state == v1::RUN_STATE_QUEUED ? v1::RUN_STATE_STOPPED : v1::RUN_STATE_STOPPING, "", now);
  Advance(now);
  return absl::OkStatus();
}

void Core::FailRun(const std::string& name, const std::string& error, absl::Time now) {
  const RunState* run = FindRun(name);
  if (run == nullptr || run->HasEnded()) return;
  SetState(*run, v1::RUN_STATE_FAILED, error, now);
  Advance(now);
}

absl::StatusOr<v1::Run> Core::DescribeRun(const std::string& name, absl::Time now) const {
  const RunState* run = FindRun(name);
  if (run == nullptr) return absl::NotFoundError("no run named '" + name + "'");
  v1::Run result;
  result.set_name(run->name());
  result.set_state(run->state());
  *result.mutable_spec() = run->spec();
  result.set_error(run->error());
  for (int i = 0; i < run->stage_count(); ++i) {
    const v1::StageSpec& spec = run->spec().stages(i);
    v1::StageProgress& progress = *result.add_stages();
    progress.set_name(spec.name());
    progress.set_kind(StageKindName(spec));
    progress.set_steps_done(run->stage(i).steps_done);
    progress.set_steps_total(run->stage(i).steps_total);
    progress.set_finished(run->stage(i).finished);
    for (const CheckpointEntry& checkpoint : run->KeptCheckpoints(i)) {
      v1::Checkpoint& kept = *progress.add_checkpoints();
      kept.set_step(checkpoint.step);
      kept.set_path(checkpoint.path);
      kept.set_root_hash(checkpoint.root_hash);
    }
    progress.set_result_path(run->Result(i).path);
    for (const auto& [metric, value] : run->stage(i).latest_metrics) {
      (*progress.mutable_latest_metrics())[metric] = value;
    }
  }
  if (run == ActiveRun()) DescribeEvaluation(*run, &result);
  *result.mutable_create_time() = ToProtoTime(run->create_time());
  if (run->end_time() != absl::InfinitePast()) *result.mutable_end_time() = ToProtoTime(run->end_time());
  result.set_running_seconds(absl::ToDoubleSeconds(run->RunningTime(now)));
  result.set_output_dir(run->output_dir());
  for (const auto& [metric, value] : run->latest_metrics()) (*result.mutable_latest_metrics())[metric] = value;
  return result;
}

void Core::DescribeEvaluation(const RunState& run, v1::Run* description) const {
  for (const auto& [key, set] : leases_.sets()) {
    if (set.context.purpose() != v1::GROUP_PURPOSE_EVALUATE) continue;
    v1::StageProgress& progress = *description->mutable_stages(run.StageIndex(set.context.stage()));
    const int total = static_cast<int>(set.tasks.size());
    progress.set_evaluation_prompts(total);
    progress.set_evaluated_prompts(total - leases_.OutstandingIn(key));
  }
}

std::vector<std::string> Core::RunNames() const {
  std::vector<std::string> names;
  for (const auto& run : runs_) names.push_back(run->name());
  return names;
}

std::string Core::RunOfRequest(const std::string& request_id) const {
  const auto it = run_by_request_.find(request_id);
  return request_id.empty() || it == run_by_request_.end() ? "" : it->second;
}

std::vector<v1::Member> Core::DescribeMembers(absl::Time now) const {
  std::vector<std::pair<int64_t, v1::Member>> ordered;
  for (const auto& [id, state] : members_.all()) {
    v1::Member member;
    member.set_member_id(id);
    member.set_role(state.role == v1::MEMBER_ROLE_ROLLOUT_WORKER ? "rollout_worker"
                    : state.role == v1::MEMBER_ROLE_LEARNER      ? "learner"
                                                                 : "reward_server");
    member.set_name(state.name);
    member.set_address(state.address);
    member.set_seconds_since_heartbeat(absl::ToDoubleSeconds(now - state.last_seen));
    member.set_leased_groups(leases_.HeldBy(id));
    for (const auto& [gauge, value] : state.gauges) (*member.mutable_gauges())[gauge] = value;
    ordered.emplace_back(state.serial, std::move(member));
  }
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<v1::Member> members;
  members.reserve(ordered.size());
  for (auto& [serial, member] : ordered) members.push_back(std::move(member));
  return members;
}

std::string Core::Obstacle() const {
  const RunState* run = ActiveRun();
  if (run == nullptr || run->state() != v1::RUN_STATE_RUNNING || leases_.FreeCount() == 0) return "";
  const std::string waiting = std::to_string(leases_.FreeCount()) + " groups of run '" + run->name() + "' wait: ";
  if (members_.RewardAddresses().empty()) return waiting + "no reward server is registered";
  if (members_.WorkerIds().empty()) return waiting + "no rollout worker is registered";
  const LeaseTable::Item* stranded = leases_.LongestStranded();
  if (stranded == nullptr) return "";
  return DescribeTask(leases_.SetOf(*stranded), stranded->slot) + " of run '" + run->name() +
         "' waits: every rollout worker has declined it: " + stranded->decline_reason;
}

}  // namespace hone::coordinator
