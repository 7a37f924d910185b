// The learner's calls: work, versions, batches, reports. (The groups that its versions make: core_work.cc.)
#include <algorithm>
#include <set>

#include "base/paths.h"
#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/dynamic_sampling.h"
#include "coordinator/core/stage_plan.h"
#include "coordinator/core/unrewarded.h"

namespace hone::coordinator {
namespace {

bool IsHash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string AbsolutePath(const std::string& directory, const std::string& path) {
  if (directory.empty() || path.empty() || path.front() == '/') return path;
  return directory + "/" + path;
}

// The spec with every path that the learner opens made absolute: it may have been started in another folder.
v1::RunSpec WithAbsolutePaths(v1::RunSpec spec, const std::string& directory) {
  if (spec.has_model()) spec.mutable_model()->set_path(AbsolutePath(directory, spec.model().path()));
  for (auto& [name, dataset] : *spec.mutable_datasets()) {
    for (v1::SourceSpec& source : *dataset.mutable_sources()) {
      source.set_path(AbsolutePath(directory, source.path()));
    }
  }
  for (v1::StageSpec& stage : *spec.mutable_stages()) {
    if (stage.has_from_checkpoint()) stage.set_from_checkpoint(AbsolutePath(directory, stage.from_checkpoint()));
    if (stage.has_export_() && stage.export_().has_path()) {
      stage.mutable_export_()->set_path(AbsolutePath(directory, stage.export_().path()));
    }
  }
  return spec;
}

}  // namespace

std::optional<v1::Directive> Core::StateDirective(const RunState& run) {
  switch (run.state()) {
    case v1::RUN_STATE_RUNNING:
      return std::nullopt;
    case v1::RUN_STATE_PAUSED:
      return v1::DIRECTIVE_WAIT;
    case v1::RUN_STATE_STOPPING:
      return v1::DIRECTIVE_STOP;
    default:
      return v1::DIRECTIVE_ABANDON;
  }
}

absl::StatusOr<Core::Place> Core::FindPlace(const std::string& name, const std::string& stage) {
  HONE_ASSIGN_OR_RETURN(RunState * run, GetRun(name));
  const int index = run->StageIndex(stage);
  if (index < 0) return absl::NotFoundError("run '" + name + "' has no stage '" + stage + "'");
  if (run->IsActive() && index != run->CurrentStage()) {
    const int current = run->CurrentStage();
    return absl::FailedPreconditionError(
        "stage '" + stage + "' of run '" + name + "' is not the one at work: expected '" +
        (current < run->stage_count() ? run->spec().stages(current).name() : std::string("(all are finished)")) + "'");
  }
  return Place{run, index};
}

absl::StatusOr<v1::NextWorkResponse> Core::NextWork(const v1::NextWorkRequest& request, absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  Advance(now);
  v1::NextWorkResponse response;
  const RunState* run = ActiveRun();
  if (run != nullptr && run->state() == v1::RUN_STATE_STOPPING) {
    // A learner that asks for work has none in hand: the newest durable checkpoint is where the run stops.
    SetState(*run, v1::RUN_STATE_STOPPED, "", now);
    Advance(now);
    run = ActiveRun();
  }
  if (run == nullptr || run->state() != v1::RUN_STATE_RUNNING) return response;
  const int index = run->CurrentStage();
  const v1::StageSpec& stage = run->spec().stages(index);
  const StageStart start = run->StartOf(index);
  v1::LearnerWork& work = *response.mutable_work();
  work.set_work_id(run->name() + "/" + stage.name());
  work.set_run(run->name());
  *work.mutable_spec() = WithAbsolutePaths(run->spec(), options_.working_directory);
  work.set_stage_index(index);
  work.set_kind(IsTrainingStage(stage) ? v1::WORK_KIND_TRAIN
                : stage.has_export_()  ? v1::WORK_KIND_EXPORT
                                       : v1::WORK_KIND_SERVE);
  *work.mutable_start() = start.weights;
  for (std::string* path :
       {work.mutable_start()->mutable_model_path(), work.mutable_start()->mutable_checkpoint_path()}) {
    *path = AbsolutePath(options_.working_directory, *path);
  }
  work.set_first_version(start.first_version);
  work.set_parent_version(start.parent_version);
  if (const CheckpointEntry* checkpoint = run->NewestCheckpoint(index);
      checkpoint != nullptr && IsTrainingStage(stage)) {
    work.set_resume_checkpoint(checkpoint->path);
    work.set_resume_step(checkpoint->step);
  }
  work.set_output_dir(run->output_dir());
  if (const int32_t finish_step = run->stage(index).finish_step; finish_step >= 0) work.set_finish_step(finish_step);
  return response;
}

absl::StatusOr<v1::PublishVersionResponse> Core::PublishVersion(const v1::PublishVersionRequest& request,
                                                                absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  HONE_ASSIGN_OR_RETURN(const Place place, FindPlace(request.run(), request.stage()));
  v1::PublishVersionResponse response;
  // Of a run that has ended nothing is needed any more; the learner's next call hears so.
  if (!place.run->IsActive()) return response;
  const StageState& state = place.run->stage(place.stage);
  const StageStart start = place.run->StartOf(place.stage);
  const int32_t step = request.step();
  if (step < 0) return absl::InvalidArgumentError("step: expected at least 0, got " + std::to_string(step));
  if (request.version().number() != start.first_version + step) {
    return absl::InvalidArgumentError("version.number: expected " + std::to_string(start.first_version + step) +
                                      " (first version " + std::to_string(start.first_version) + " + step " +
                                      std::to_string(step) + "), got " + std::to_string(request.version().number()));
  }
  const std::string& hash = request.version().root_hash();
  if (!IsHash(hash)) {
    return absl::InvalidArgumentError("version.root_hash: expected 64 lower-case hexadecimal digits, got '" + hash +
                                      "'");
  }
  // The same weights must come out whenever they are computed again. Every earlier word about this version counts.
  std::string known = place.run->PublishedHash(request.version().number());
  std::string source = "published before";
  for (const CheckpointEntry& checkpoint : state.checkpoints) {
    if (known.empty() && checkpoint.step == step) {
      known = checkpoint.root_hash;
      source = "checkpoint " + checkpoint.path;
    }
  }
  if (known.empty() && step == 0) {
    known = start.root_hash;
    source = "the stage it starts from";
  }
  if (!known.empty() && known != hash) {
    const std::string alarm = "version " + std::to_string(request.version().number()) + " of run '" + request.run() +
                              "' (stage '" + request.stage() + "', step " + std::to_string(step) + ") has root hash " +
                              hash + ", but " + source + ": " + known;
    FailRun(request.run(), alarm, now);
    return absl::DataLossError(alarm);
  }
  if (state.published_step != step || state.published_epoch != learner_.epoch) {
    v1::JournalRecord record;
    v1::VersionPublished& published = *record.mutable_version_published();
    published.set_run(request.run());
    published.set_stage(request.stage());
    published.set_step(step);
    v1::PolicyVersion& version = *published.mutable_version();
    version = request.version();
    version.set_parent(step == 0 ? start.parent_version : request.version().number() - 1);
    version.set_learner_epoch(learner_.epoch);
    Emit(std::move(record), now);
  }
  OpenWork(now);
  response.set_evaluation_due(leases_.Outstanding(v1::GROUP_PURPOSE_EVALUATE) > 0);
  return response;
}

absl::StatusOr<v1::Directive> Core::AwaitRelease(const v1::AwaitReleaseRequest& request, absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  HONE_ASSIGN_OR_RETURN(const RunState* run, GetRun(request.run()));
  if (const auto directive = StateDirective(*run)) return *directive;
  OpenWork(now);
  // What was opened again may be an evaluation that fails the run.
  if (const auto directive = StateDirective(*run)) return *directive;
  for (const auto& [key, set] : leases_.sets()) {
    if (set.context.version().number() <= request.version() && leases_.OutstandingIn(key) > 0) {
      return v1::DIRECTIVE_WAIT;
    }
  }
  const int stage = run->CurrentStage();
  if (stage < run->stage_count() &&
      FailUnmeasured(*run, stage, static_cast<int32_t>(request.version() - run->StartOf(stage).first_version), now)) {
    return v1::DIRECTIVE_ABANDON;
  }
  return v1::DIRECTIVE_CONTINUE;
}

bool Core::FailUnmeasured(const RunState& run, int stage, int32_t last_step, absl::Time now) {
  const StageState& state = run.stage(stage);
  for (const auto& [step, groups] : state.evaluation_groups) {
    if (step > last_step || state.evaluations.contains(step) || !EvaluationIsWhole(run, stage, step)) continue;
    const std::string why = WhyUnrewarded(SummariesOf(groups));
    if (why.empty()) continue;
    FailRun(run.name(),
            "stage '" + run.spec().stages(stage).name() + "', evaluation at step " + std::to_string(step) +
                ": nothing was measured: " + why,
            now);
    return true;
  }
  return false;
}

absl::StatusOr<BatchAnswer> Core::FetchBatch(const v1::FetchBatchRequest& request, absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  HONE_ASSIGN_OR_RETURN(const Place place, FindPlace(request.run(), request.stage()));
  BatchAnswer answer;
  if (const auto directive = StateDirective(*place.run)) {
    answer.directive = *directive;
    return answer;
  }
  const v1::StageSpec& spec = place.run->spec().stages(place.stage);
  if (!spec.has_rl()) return absl::InvalidArgumentError("stage '" + request.stage() + "' has no batches: it is not rl");
  const StageState& state = place.run->stage(place.stage);
  // The budget ended the stage, and the learner that heard so died before it finished the work.
  if (state.finish_step >= 0 && request.step() > state.finish_step) {
    answer.directive = v1::DIRECTIVE_FINISH;
    return answer;
  }
  if (state.published_epoch != learner_.epoch || state.published_step + 1 != request.step()) {
    return absl::FailedPreconditionError("step " + std::to_string(request.step()) +
                                         ": its batch is made by the version of step " +
                                         std::to_string(request.step() - 1) + ", which learner epoch " +
                                         std::to_string(learner_.epoch) + " did not publish last");
  }
  OpenWork(now);
  if (const auto directive = StateDirective(*place.run)) {
    answer.directive = *directive;
    return answer;
  }
  // A batch also waits for the evaluations of versions that are no longer served after its step: the learner leaves no
  // version that is still needed.
  const int64_t leaving = place.run->StartOf(place.stage).first_version + request.step() - 1 - Lag(spec);
  for (const auto& [key, set] : leases_.sets()) {
    if (set.context.purpose() == v1::GROUP_PURPOSE_EVALUATE && set.context.version().number() <= leaving &&
        leases_.OutstandingIn(key) > 0) {
      return answer;
    }
  }
  if (FailUnmeasured(*place.run, place.stage, request.step() - 1 - Lag(spec), now)) {
    answer.directive = v1::DIRECTIVE_ABANDON;
    return answer;
  }
  const auto groups = state.train_groups.find(request.step());
  if (groups == state.train_groups.end() ||
      static_cast<int32_t>(groups->second.size()) < SlotCount(spec.rl(), groups->second)) {
    return answer;
  }
  // Asked only here, when the evaluation at this version is recorded and the step before is reported: which failure a
  // run ends with, and after which step, must not depend on who was faster.
  const std::vector<const GroupSummary*> summaries = SummariesOf(groups->second);
  const BatchChoice choice = ChooseBatch(spec.rl(), groups->second);
  std::string why = WhyUnrewarded(summaries);
  if (why.empty() && choice.failed) {
    why = "of " + std::to_string(summaries.size()) + " groups in " + std::to_string(choice.waves) +
          " waves (algorithm.dynamic_sampling.max_waves) only " + std::to_string(choice.slots.size()) +
          " have samples that differ, " + std::to_string(spec.rl().prompts_per_step()) +
          " are asked for, and its fallback is fail";
  }
  if (!why.empty()) {
    FailRun(request.run(),
            "stage '" + request.stage() + "', step " + std::to_string(request.step()) +
                ": there is nothing to train on: " + why,
            now);
    answer.directive = v1::DIRECTIVE_ABANDON;
    return answer;
  }
  answer.directive = v1::DIRECTIVE_CONTINUE;
  for (const int32_t slot : choice.slots) answer.positions.push_back(groups->second.at(slot).span.begin);
  for (const auto& [slot, group] : groups->second) {
    answer.journal_position = std::max(answer.journal_position, group.span.end);
  }
  return answer;
}

// Before the step is recorded: a step that is reported again, after a crash in between, finds the run paused already.
// (Where the learner died too and someone resumed the run before the step came again, it pauses a second time.)
void Core::PauseWhereUpdatesWereSkipped(const RunState& run, int stage, const v1::ReportStepRequest& request,
                                        absl::Time now) {
  const auto skipped = request.metrics().find("actor/skipped_updates");
  if (skipped == request.metrics().end() || skipped->second == 0 || run.state() != v1::RUN_STATE_RUNNING) return;
  const v1::OptimizerSpec* optimizer = OptimizerOf(run.spec().stages(stage));
  if (optimizer == nullptr || optimizer->on_non_finite() != v1::NON_FINITE_POLICY_PAUSE) return;
  SetState(
      run, v1::RUN_STATE_PAUSED,
      "stage '" + request.stage() + "', step " + std::to_string(request.step()) + ": " +
          std::to_string(static_cast<int64_t>(skipped->second)) +
          " of its updates left out, for a gradient was not finite (optimizer.on_non_finite: pause); resume to go on "
          "without, or stop",
      now);
}

absl::StatusOr<v1::Directive> Core::ReportStep(const v1::ReportStepRequest& request, absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  HONE_ASSIGN_OR_RETURN(const Place place, FindPlace(request.run(), request.stage()));
  const RunState& run = *place.run;
  const StageState& state = run.stage(place.stage);
  if (request.step() < 1) {
    return absl::InvalidArgumentError("step: expected at least 1, got " + std::to_string(request.step()));
  }
  if (run.IsActive() && request.step() > state.steps_done) {
    v1::JournalRecord record;
    v1::StepRecorded& recorded = *record.mutable_step_recorded();
    recorded.set_run(request.run());
    recorded.set_stage(request.stage());
    recorded.set_step(request.step());
    recorded.set_running_seconds(absl::ToDoubleSeconds(run.RunningTime(now)));
    recorded.set_steps_total(request.steps_total());
    *recorded.mutable_metrics() = request.metrics();
    if (const auto groups = state.train_groups.find(request.step()); groups != state.train_groups.end()) {
      const std::vector<const GroupSummary*> summaries = SummariesOf(groups->second);
      const auto published = state.train_published.find(request.step());
      const auto last = state.train_last_group.find(request.step());
      double seconds = 0;
      if (published != state.train_published.end() && last != state.train_last_group.end()) {
        seconds = absl::ToDoubleSeconds(last->second - published->second);
      }
      for (const auto& [name, value] : StepFigures(summaries, seconds)) (*recorded.mutable_metrics())[name] = value;
      const v1::RlStage& rl = run.spec().stages(place.stage).rl();
      if (ReplacesGroups(rl)) {
        const BatchChoice choice = ChooseBatch(rl, groups->second);
        (*recorded.mutable_metrics())["rollout/waves"] = choice.waves;
        (*recorded.mutable_metrics())["rollout/kept_groups"] = static_cast<double>(choice.slots.size());
      }
    }
    const int32_t finish_before = state.finish_step;
    PauseWhereUpdatesWereSkipped(run, place.stage, request, now);
    Emit(std::move(record), now);
    // The budget ended the stage here: the version of this step is its last, and an evaluation at its end is due now.
    if (finish_before < 0 && state.finish_step >= 0) OpenWork(now);
    Advance(now);
  }
  if (const auto directive = StateDirective(run)) return *directive;
  if (state.finish_step >= 0 && request.step() >= state.finish_step) return v1::DIRECTIVE_FINISH;
  return v1::DIRECTIVE_CONTINUE;
}

absl::StatusOr<v1::ReportCheckpointResponse> Core::ReportCheckpoint(const v1::ReportCheckpointRequest& request,
                                                                    absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  HONE_ASSIGN_OR_RETURN(const Place place, FindPlace(request.run(), request.stage()));
  v1::ReportCheckpointResponse response;
  if (!place.run->IsActive()) return response;
  if (request.path().empty()) return absl::InvalidArgumentError("path: missing");
  if (!IsHash(request.root_hash())) {
    return absl::InvalidArgumentError("root_hash: expected 64 lower-case hexadecimal digits, got '" +
                                      request.root_hash() + "'");
  }
  const auto& checkpoints = place.run->stage(place.stage).checkpoints;
  const bool known = std::any_of(checkpoints.begin(), checkpoints.end(), [&](const CheckpointEntry& c) {
    return c.step == request.step() && c.path == request.path() && c.root_hash == request.root_hash();
  });
  if (!known) {
    v1::JournalRecord record;
    v1::CheckpointRecorded& recorded = *record.mutable_checkpoint_recorded();
    recorded.set_run(request.run());
    recorded.set_stage(request.stage());
    recorded.set_step(request.step());
    recorded.set_path(request.path());
    recorded.set_root_hash(request.root_hash());
    recorded.set_journal_position(request.journal_position());
    Emit(std::move(record), now);
  }
  // What another run (an export, a fork) begins with stays until that has succeeded: one that was stopped or failed may
  // be resumed.
  std::set<std::string> wanted;
  for (const auto& other : runs_) {
    if (other->state() == v1::RUN_STATE_SUCCEEDED) continue;
    for (const v1::StageSpec& stage : other->spec().stages()) {
      if (stage.has_from_checkpoint()) {
        wanted.insert(PlainPath(AbsolutePath(options_.working_directory, stage.from_checkpoint())));
      }
    }
  }
  for (const CheckpointEntry& obsolete : place.run->ObsoleteCheckpoints(place.stage)) {
    if (!wanted.contains(PlainPath(obsolete.path))) response.add_obsolete_paths(obsolete.path);
  }
  return response;
}

absl::Status Core::FinishWork(const v1::FinishWorkRequest& request, absl::Time now) {
  HONE_RETURN_IF_ERROR(CheckLearner(request.member_id(), request.learner_epoch(), now));
  const size_t slash = request.work_id().find('/');
  if (slash == std::string::npos) {
    return absl::InvalidArgumentError("work_id: expected <run>/<stage>, got '" + request.work_id() + "'");
  }
  HONE_ASSIGN_OR_RETURN(const RunState* run, GetRun(request.work_id().substr(0, slash)));
  const int stage = run->StageIndex(request.work_id().substr(slash + 1));
  if (stage < 0) return absl::NotFoundError("work '" + request.work_id() + "' names no stage of the run");
  if (run->stage(stage).finished || !run->IsActive()) return absl::OkStatus();
  HONE_RETURN_IF_ERROR(FindPlace(run->name(), run->spec().stages(stage).name()).status());
  switch (request.outcome()) {
    case v1::WORK_OUTCOME_FAILED:
      FailRun(run->name(), "stage '" + run->spec().stages(stage).name() + "': " + request.error(), now);
      return absl::OkStatus();
    case v1::WORK_OUTCOME_STOPPED:
      // A learner may also stop by itself, for its own restart: then the run goes on with the next one.
      if (run->state() == v1::RUN_STATE_STOPPING) SetState(*run, v1::RUN_STATE_STOPPED, "", now);
      leases_.Clear();
      Advance(now);
      return absl::OkStatus();
    case v1::WORK_OUTCOME_DONE:
      break;
    default:
      return absl::InvalidArgumentError("outcome: expected DONE, STOPPED or FAILED, got " +
                                        v1::WorkOutcome_Name(request.outcome()));
  }
  const v1::StageSpec& spec = run->spec().stages(stage);
  if (IsTrainingStage(spec) && request.path().empty()) {
    return absl::InvalidArgumentError("path: a training stage ends with a checkpoint, got none");
  }
  if (leases_.Outstanding() > 0) {
    return absl::FailedPreconditionError("work '" + request.work_id() + "' has " +
                                         std::to_string(leases_.Outstanding()) +
                                         " groups outstanding: await the release of its last version first");
  }
  const StageState& state = run->stage(stage);
  for (int32_t step = std::max(0, request.steps() - Lag(spec)); step <= request.steps(); ++step) {
    if (!EvaluationDue(spec, step, state.finish_step) || state.evaluations.contains(step)) continue;
    return absl::FailedPreconditionError("work '" + request.work_id() + "' is done once its evaluation after step " +
                                         std::to_string(step) + " is recorded: expected one, got none");
  }
  v1::JournalRecord record;
  v1::StageFinished& finished = *record.mutable_stage_finished();
  finished.set_run(run->name());
  finished.set_stage(spec.name());
  finished.set_path(request.path());
  finished.set_root_hash(request.root_hash());
  finished.set_steps(request.steps());
  if (const CheckpointEntry* best = run->BestToKeep(stage)) {
    finished.set_path(best->path);
    finished.set_root_hash(best->root_hash);
  }
  Emit(std::move(record), now);
  OpenWork(now);
  Advance(now);
  return absl::OkStatus();
}

}  // namespace hone::coordinator
