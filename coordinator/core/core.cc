#include "coordinator/core/core.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "coordinator/core/record_time.h"
#include "coordinator/core/stage_plan.h"
#include "coordinator/core/unrewarded.h"

namespace hone::coordinator {

Core::Core(CoreOptions options, Appender append)
    : options_(std::move(options)), append_(std::move(append)), members_(options_.incarnation) {}

absl::Status Core::Apply(const v1::JournalRecord& record, RecordSpan span) {
  const absl::Time time = FromProtoTime(record.time());
  const auto with_run = [&](const std::string& name, const std::string* stage, auto&& apply) -> absl::Status {
    RunState* run = MutableRun(name);
    if (run == nullptr || (stage != nullptr && run->StageIndex(*stage) < 0)) {
      return absl::DataLossError("journal position " + std::to_string(span.begin) + ": the record names run '" + name +
                                 "'" + (stage != nullptr ? ", stage '" + *stage + "'" : "") +
                                 ", which no record before it created");
    }
    apply(*run);
    return absl::OkStatus();
  };
  switch (record.event_case()) {
    case v1::JournalRecord::kRunCreated: {
      const v1::RunCreated& created = record.run_created();
      runs_.push_back(std::make_unique<RunState>(created, time));
      if (!created.request_id().empty()) run_by_request_[created.request_id()] = created.run();
      return absl::OkStatus();
    }
    case v1::JournalRecord::kLearnerEpochStarted: {
      const v1::LearnerEpochStarted& started = record.learner_epoch_started();
      learner_.epoch = started.epoch();
      learner_.name = started.name();
      learner_.address = started.address();
      learner_.numerics_keys.assign(started.numerics_keys().begin(), started.numerics_keys().end());
      return absl::OkStatus();
    }
    case v1::JournalRecord::kRunStateChanged: {
      const v1::RunStateChanged& e = record.run_state_changed();
      return with_run(e.run(), nullptr, [&](RunState& run) { run.ApplyState(e, time); });
    }
    case v1::JournalRecord::kVersionPublished: {
      const v1::VersionPublished& e = record.version_published();
      return with_run(e.run(), &e.stage(), [&](RunState& run) { run.ApplyVersion(e, time); });
    }
    case v1::JournalRecord::kGroupRecorded: {
      const v1::GroupRecorded& e = record.group_recorded();
      return with_run(e.run(), &e.stage(), [&](RunState& run) { run.ApplyGroup(e, span, time); });
    }
    case v1::JournalRecord::kStepRecorded: {
      const v1::StepRecorded& e = record.step_recorded();
      return with_run(e.run(), &e.stage(), [&](RunState& run) { run.ApplyStep(e, time); });
    }
    case v1::JournalRecord::kCheckpointRecorded: {
      const v1::CheckpointRecorded& e = record.checkpoint_recorded();
      return with_run(e.run(), &e.stage(), [&](RunState& run) { run.ApplyCheckpoint(e); });
    }
    case v1::JournalRecord::kEvaluationRecorded: {
      const v1::EvaluationRecorded& e = record.evaluation_recorded();
      return with_run(e.run(), &e.stage(), [&](RunState& run) { run.ApplyEvaluation(e); });
    }
    case v1::JournalRecord::kStageFinished: {
      const v1::StageFinished& e = record.stage_finished();
      return with_run(e.run(), &e.stage(), [&](RunState& run) { run.ApplyStageFinished(e); });
    }
    case v1::JournalRecord::EVENT_NOT_SET:
      break;
  }
  return absl::DataLossError("journal position " + std::to_string(span.begin) +
                             ": a record of a kind that this program does not know");
}

void Core::Emit(v1::JournalRecord record, absl::Time now) {
  *record.mutable_time() = ToProtoTime(now);
  const RecordSpan span = append_(record);
  HONE_CHECK_OK(Apply(record, span));
}

void Core::SetState(const RunState& run, v1::RunState state, const std::string& error, absl::Time now) {
  v1::JournalRecord record;
  v1::RunStateChanged& changed = *record.mutable_run_state_changed();
  changed.set_run(run.name());
  changed.set_state(state);
  // It may quote bytes of a file or a path, and what is not UTF-8 could not be read back.
  changed.set_error(MendUtf8(error));
  changed.set_running_seconds(absl::ToDoubleSeconds(run.RunningTime(now)));
  const bool was_active = run.IsActive();
  Emit(std::move(record), now);
  // What is open belongs to the active run: what happens to a queued or ended one does not touch it.
  if (was_active && !run.IsActive()) leases_.Clear();
  if (run.HasEnded()) prompts_.erase(run.name());
}

std::vector<std::string> Core::RunsThatNeedPrompts() const {
  std::vector<std::string> names;
  for (const auto& run : runs_) {
    if (!run->HasEnded() && !prompts_.contains(run->name())) names.push_back(run->name());
  }
  return names;
}

void Core::SetPrompts(const std::string& run, PromptSets prompts) { prompts_[run] = std::move(prompts); }

void Core::RestartClock(absl::Time now) {
  if (RunState* run = ActiveRun()) run->RestartClock(now);
}

void Core::Recover(absl::Time now) {
  // A learner that outlived the coordinator goes on as if nothing had happened: its epoch and address are durable.
  learner_.seen = now;
  RestartClock(now);
  Advance(now);
  OpenWork(now);
  Advance(now);
}

void Core::Tick(absl::Time now) {
  for (const std::string& id : members_.RemoveSilent(now - DeadAfter())) leases_.ReleaseExcept(id, {});
  leases_.Expire(now);
  FailStranded(now);
  Advance(now);
}

void Core::Advance(absl::Time now) {
  while (AdvanceOnce(now)) {
  }
}

bool Core::AdvanceOnce(absl::Time now) {
  RunState* run = ActiveRun();
  if (run == nullptr) {
    for (const auto& queued : runs_) {
      if (queued->state() != v1::RUN_STATE_QUEUED || !prompts_.contains(queued->name())) continue;
      SetState(*queued, v1::RUN_STATE_RUNNING, "", now);
      return true;
    }
    return false;
  }
  const int stage = run->CurrentStage();
  if (stage == run->stage_count()) {
    if (run->state() == v1::RUN_STATE_PAUSED) return false;
    SetState(*run, v1::RUN_STATE_SUCCEEDED, "", now);
    return true;
  }
  if (RecordEvaluation(*run, stage, now)) return true;
  if (run->state() == v1::RUN_STATE_STOPPING && !LearnerAlive(now)) {
    SetState(*run, v1::RUN_STATE_STOPPED, "", now);
    return true;
  }
  return run->state() == v1::RUN_STATE_RUNNING && SkipStage(*run, stage, now);
}

bool Core::EvaluationIsWhole(const RunState& run, int stage, int32_t step) const {
  const v1::EvaluationSpec& evaluation = *EvaluationOf(run.spec().stages(stage));
  const auto prompts = FindPrompts(run.name(), evaluation.dataset());
  const StepGroups& groups = run.stage(stage).evaluation_groups.at(step);
  return prompts != nullptr && groups.size() >= EvaluationOrder(*prompts, evaluation.max_problems(), step).size();
}

// An evaluation whose last group is recorded. One that measured nothing fails the run: its figures would be none, or a
// fiction. Where the learner may be a step further by then it fails when the learner comes to wait for it, so that
// who was faster leaves no trace.
bool Core::RecordEvaluation(const RunState& run, int stage, absl::Time now) {
  const StageState& state = run.stage(stage);
  const v1::StageSpec& spec = run.spec().stages(stage);
  if (Lag(spec) == 0 && FailUnmeasured(run, stage, state.published_step, now)) return true;
  for (const auto& [step, groups] : state.evaluation_groups) {
    if (state.evaluations.contains(step) || !EvaluationIsWhole(run, stage, step)) continue;
    const std::vector<const GroupSummary*> summaries = SummariesOf(groups);
    if (!WhyUnrewarded(summaries).empty()) continue;
    v1::JournalRecord record;
    v1::EvaluationRecorded& recorded = *record.mutable_evaluation_recorded();
    recorded.set_run(run.name());
    recorded.set_stage(spec.name());
    recorded.set_step(step);
    recorded.set_version(run.StartOf(stage).first_version + step);
    for (const auto& [name, value] : EvaluationFigures(summaries, AccuracyComponent(*EvaluationOf(spec)))) {
      (*recorded.mutable_metrics())[name] = value;
    }
    Emit(std::move(record), now);
    return true;
  }
  return false;
}

// A training stage that was not begun when the budget ended is not carried out; evaluations and exports still are.
bool Core::SkipStage(const RunState& run, int stage, absl::Time now) {
  const v1::StageSpec& spec = run.spec().stages(stage);
  const StageState& state = run.stage(stage);
  if (!IsTrainingStage(spec) || state.published_step >= 0 || state.steps_done > 0 || !run.BudgetUsedUp(now))
    return false;
  v1::JournalRecord record;
  record.mutable_stage_finished()->set_run(run.name());
  record.mutable_stage_finished()->set_stage(spec.name());
  Emit(std::move(record), now);
  return true;
}

RunState* Core::MutableRun(const std::string& name) {
  for (const auto& run : runs_) {
    if (run->name() == name) return run.get();
  }
  return nullptr;
}

const RunState* Core::FindRun(const std::string& name) const { return const_cast<Core*>(this)->MutableRun(name); }

absl::StatusOr<RunState*> Core::GetRun(const std::string& name) {
  if (RunState* run = MutableRun(name)) return run;
  return absl::NotFoundError("no run named '" + name + "'");
}

RunState* Core::ActiveRun() const {
  for (const auto& run : runs_) {
    if (run->IsActive()) return run.get();
  }
  return nullptr;
}

bool Core::LearnerAlive(absl::Time now) const { return learner_.epoch > 0 && learner_.seen + DeadAfter() >= now; }

std::shared_ptr<const PromptSet> Core::FindPrompts(const std::string& run, const std::string& dataset) const {
  const auto sets = prompts_.find(run);
  if (sets == prompts_.end()) return nullptr;
  const auto set = sets->second.find(dataset);
  return set == sets->second.end() ? nullptr : set->second;
}

}  // namespace hone::coordinator
