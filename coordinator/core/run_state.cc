#include "coordinator/core/run_state.h"

#include <algorithm>

#include "base/check.h"
#include "coordinator/core/stage_plan.h"
#include "coordinator/run_config/schema_words.h"

namespace hone::coordinator {
namespace {

int32_t Covered(const StageState& stage) {
  return stage.checkpoints.empty() ? 0 : std::min(stage.checkpoints.back().step, stage.steps_done);
}

// Whether the weights after `step` steps are to be evaluated, published or not. A stage in epochs has its number of
// steps from the learner.
bool MayBeEvaluated(const v1::StageSpec& spec, const StageState& state, int32_t step) {
  if (StepsTotal(spec) > 0 || step == 0) return EvaluationDue(spec, step, state.finish_step);
  const v1::PeriodicEvalSpec* periodic = PeriodicEvaluation(spec);
  if (periodic->every_steps() > 0 && step % periodic->every_steps() == 0) return true;
  return periodic->at_end() && (step == state.steps_total || step == state.finish_step);
}

}  // namespace

std::vector<const GroupSummary*> SummariesOf(const StepGroups& groups) {
  std::vector<const GroupSummary*> summaries;
  for (const auto& [slot, group] : groups) summaries.push_back(&group.summary);
  return summaries;
}

RunState::RunState(const v1::RunCreated& record, absl::Time time)
    : spec_(record.spec()),
      source_sha256_(record.source_sha256().begin(), record.source_sha256().end()),
      output_dir_(record.output_dir()),
      create_time_(time),
      stages_(static_cast<size_t>(record.spec().stages_size())) {
  for (int i = 0; i < stage_count(); ++i) stages_[static_cast<size_t>(i)].steps_total = StepsTotal(spec_.stages(i));
}

void RunState::ApplyState(const v1::RunStateChanged& record, absl::Time time) {
  // The time of the record before is no substitute: the coordinator may have been down in between.
  running_time_ = record.has_running_seconds() ? absl::Seconds(record.running_seconds()) : RunningTime(time);
  running_since_.reset();
  state_ = record.state();
  error_ = record.error();
  if (state_ == v1::RUN_STATE_RUNNING) running_since_ = time;
  end_time_ = HasEnded() ? time : absl::InfinitePast();
}

void RunState::ApplyVersion(const v1::VersionPublished& record, absl::Time time) {
  StageState& stage = Stage(record.stage());
  stage.published_step = record.step();
  stage.published_epoch = record.version().learner_epoch();
  stage.published_time = time;
  const v1::StageSpec& spec = spec_.stages(StageIndex(record.stage()));
  for (int32_t step = record.step() + 1; step <= record.step() + 1 + Lag(spec); ++step) {
    if (SamplingStep(spec, step) == record.step()) stage.train_published[step] = time;
  }
  versions_[record.version().number()] = record.version();
}

void RunState::ApplyGroup(const v1::GroupRecorded& record, RecordSpan span, absl::Time time) {
  StageState& stage = Stage(record.stage());
  const bool train = record.purpose() == v1::GROUP_PURPOSE_TRAIN;
  RecordedGroup group;
  group.span = span;
  group.group_id = record.group().group_id();
  group.attempt = record.group().attempt();
  group.worker = record.group().worker();
  group.summary = Summarize(record.group());
  (train ? stage.train_groups : stage.evaluation_groups)[record.step()][record.slot()] = std::move(group);
  if (train) stage.train_last_group[record.step()] = time;
}

void RunState::ApplyStep(const v1::StepRecorded& record, absl::Time time) {
  StageState& stage = Stage(record.stage());
  stage.steps_done = std::max(stage.steps_done, record.step());
  if (running_since_.has_value()) running_since_ = time;
  running_time_ = absl::Seconds(record.running_seconds());
  if (record.steps_total() > 0) stage.steps_total = record.steps_total();
  NoteMetrics(record.metrics(), &stage);
  if (stage.finish_step < 0 && BudgetUsedUp(time)) stage.finish_step = record.step();
  ForgetCoveredSteps(stage);
}

void RunState::ApplyCheckpoint(const v1::CheckpointRecorded& record) {
  StageState& stage = Stage(record.stage());
  std::erase_if(stage.checkpoints, [&](const CheckpointEntry& c) { return c.step == record.step(); });
  stage.checkpoints.push_back({record.step(), record.path(), record.root_hash()});
  std::sort(stage.checkpoints.begin(), stage.checkpoints.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.step < b.step; });
  ForgetCoveredSteps(stage);
}

void RunState::ApplyEvaluation(const v1::EvaluationRecorded& record) {
  StageState& stage = Stage(record.stage());
  stage.evaluations[record.step()] = Metrics(record.metrics().begin(), record.metrics().end());
  stage.evaluation_groups.erase(record.step());
  NoteMetrics(record.metrics(), &stage);
}

void RunState::NoteMetrics(const google::protobuf::Map<std::string, double>& metrics, StageState* stage) {
  for (const auto& [name, value] : metrics) {
    stage->latest_metrics[name] = value;
    latest_metrics_[name] = value;
  }
}

void RunState::ApplyStageFinished(const v1::StageFinished& record) {
  StageState& stage = Stage(record.stage());
  stage.finished = true;
  stage.skipped = record.path().empty() && IsTrainingStage(spec_.stages(StageIndex(record.stage())));
  stage.final_path = record.path();
  stage.final_root_hash = record.root_hash();
  stage.steps_done = record.steps();
  stage.final_step = record.steps();
  for (const CheckpointEntry& checkpoint : stage.checkpoints) {
    if (checkpoint.path == record.path()) stage.final_step = checkpoint.step;
  }
  stage.train_groups.clear();
  stage.evaluation_groups.clear();
  stage.train_published.clear();
  stage.train_last_group.clear();
}

// A step's groups are needed until a checkpoint contains the step (a restarted learner takes them again) and its report
// made figures of them.
void RunState::ForgetCoveredSteps(StageState& stage) {
  const int32_t covered = Covered(stage);
  stage.train_groups.erase(stage.train_groups.begin(), stage.train_groups.upper_bound(covered));
  stage.train_published.erase(stage.train_published.begin(), stage.train_published.upper_bound(covered));
  stage.train_last_group.erase(stage.train_last_group.begin(), stage.train_last_group.upper_bound(covered));
}

StageState& RunState::Stage(const std::string& stage) {
  const int index = StageIndex(stage);
  HONE_CHECK(index >= 0) << "journal record of run " << name() << " names unknown stage " << stage;
  return stages_[static_cast<size_t>(index)];
}

int RunState::StageIndex(const std::string& stage) const {
  for (int i = 0; i < spec_.stages_size(); ++i) {
    if (spec_.stages(i).name() == stage) return i;
  }
  return -1;
}

int RunState::CurrentStage() const {
  int index = 0;
  while (index < stage_count() && stage(index).finished) ++index;
  return index;
}

bool RunState::IsActive() const {
  return state_ == v1::RUN_STATE_RUNNING || state_ == v1::RUN_STATE_PAUSED || state_ == v1::RUN_STATE_STOPPING;
}

bool RunState::HasEnded() const { return IsFinal(state_); }

std::string RunState::PublishedHash(int64_t number) const {
  const auto it = versions_.find(number);
  return it == versions_.end() ? "" : it->second.root_hash();
}

int64_t RunState::PublishedEpoch(int64_t number) const {
  const auto it = versions_.find(number);
  return it == versions_.end() ? -1 : it->second.learner_epoch();
}

absl::Duration RunState::RunningTime(absl::Time now) const {
  if (!running_since_.has_value()) return running_time_;
  return running_time_ + std::max(now - *running_since_, absl::ZeroDuration());
}

void RunState::RestartClock(absl::Time now) {
  if (running_since_.has_value()) running_since_ = now;
}

bool RunState::BudgetUsedUp(absl::Time now) const {
  if (!spec_.has_budget() || !spec_.budget().has_max_time()) return false;
  const auto& limit = spec_.budget().max_time();
  return RunningTime(now) >= absl::Seconds(limit.seconds()) + absl::Nanoseconds(limit.nanos());
}

int RunState::OriginStage(int index) const {
  while (true) {
    const v1::StageSpec& spec = spec_.stages(index);
    if (!spec.has_from() || spec.from().empty()) return -1;
    index = StageIndex(spec.from());
    HONE_CHECK(index >= 0) << "resolved spec: stage " << spec.name() << " starts from unknown " << spec.from();
    if (!stage(index).skipped) return index;
  }
}

v1::WeightsOrigin RunState::RootOrigin(int index) const {
  // The chain of skipped stages ends at a stage that says where the weights are.
  const v1::StageSpec* spec = &spec_.stages(index);
  while (spec->has_from() && !spec->from().empty()) spec = &spec_.stages(StageIndex(spec->from()));
  v1::WeightsOrigin origin;
  if (spec->has_from_checkpoint() && !spec->from_checkpoint().empty()) {
    origin.set_checkpoint_path(spec->from_checkpoint());
  } else {
    origin.set_model_path(spec_.model().path());
    origin.set_random_init(spec_.model().random_init());
  }
  return origin;
}

StageStart RunState::StartOf(int index) const {
  struct Numbers {
    int64_t first = 0;
    int64_t parent = -1;
  };
  std::vector<Numbers> numbers(static_cast<size_t>(index) + 1);
  std::map<std::string, int64_t> roots;  // version number by serialized root origin
  int64_t next = 0;
  const auto final_version = [&](int i) { return numbers[static_cast<size_t>(i)].first + stage(i).final_step; };
  StageStart start;
  for (int i = 0; i <= index; ++i) {
    if (i < index && stage(i).skipped) continue;
    Numbers& own = numbers[static_cast<size_t>(i)];
    const int origin = OriginStage(i);
    start = StageStart();
    if (origin >= 0) {
      own.parent = final_version(origin);
      start.weights.set_checkpoint_path(stage(origin).final_path);
      start.root_hash = stage(origin).final_root_hash;
    } else {
      start.weights = RootOrigin(i);
    }
    if (IsTrainingStage(spec_.stages(i))) {
      own.first = next;
      next += stage(i).steps_done + 1;
      if (origin < 0) roots.emplace(start.weights.SerializeAsString(), own.first);
    } else if (origin >= 0) {
      // Evaluating or exporting makes no new version: the number is that of the weights it serves.
      own.first = final_version(origin);
      const auto it = versions_.find(own.first);
      own.parent = it == versions_.end() ? own.first - 1 : it->second.parent();
    } else {
      const auto [it, added] = roots.emplace(start.weights.SerializeAsString(), next);
      own.first = it->second;
      if (added) ++next;
    }
    start.first_version = own.first;
    start.parent_version = own.parent;
  }
  return start;
}

int32_t RunState::CoveredStep(int index) const { return Covered(stage(index)); }

const CheckpointEntry* RunState::NewestCheckpoint(int index) const {
  const auto& checkpoints = stage(index).checkpoints;
  return checkpoints.empty() ? nullptr : &checkpoints.back();
}

const CheckpointEntry* RunState::BestCheckpoint(int index) const {
  const CheckpointEntry* best = nullptr;
  double best_value = 0;
  for (const CheckpointEntry& checkpoint : stage(index).checkpoints) {
    const auto evaluation = stage(index).evaluations.find(checkpoint.step);
    if (evaluation == stage(index).evaluations.end()) continue;
    const auto value = evaluation->second.find("eval/pass_at_1");
    if (value == evaluation->second.end()) continue;
    if (best == nullptr || value->second > best_value) {
      best = &checkpoint;
      best_value = value->second;
    }
  }
  return best;
}

CheckpointEntry RunState::Result(int index) const {
  const StageState& state = stage(index);
  if (state.finished) return {state.final_step, state.final_path, state.final_root_hash};
  const CheckpointEntry* result = BestToKeep(index);
  if (result == nullptr) result = NewestCheckpoint(index);
  return result == nullptr ? CheckpointEntry() : *result;
}

const CheckpointEntry* RunState::BestToKeep(int index) const {
  const v1::PeriodicEvalSpec* periodic = PeriodicEvaluation(spec_.stages(index));
  return periodic != nullptr && periodic->keep_best() ? BestCheckpoint(index) : nullptr;
}

std::vector<CheckpointEntry> RunState::Retained(int index, bool kept) const {
  const StageState& state = stage(index);
  const v1::StageSpec& spec = spec_.stages(index);
  const v1::PeriodicEvalSpec* periodic = PeriodicEvaluation(spec);
  const bool keep_best = periodic != nullptr && periodic->keep_best();
  const CheckpointEntry* best = BestToKeep(index);
  const int32_t reference_step = state.checkpoints.empty() ? 0 : ReferenceStep(spec, state.checkpoints.back().step);
  const size_t keep_last = static_cast<size_t>(std::max(spec_.checkpoints().keep_last(), 1));
  const auto is_kept = [&](size_t i) {
    const CheckpointEntry& checkpoint = state.checkpoints[i];
    if (i + keep_last >= state.checkpoints.size() || &checkpoint == best) return true;
    if (state.finished && checkpoint.path == state.final_path) return true;
    if (reference_step > 0 && checkpoint.step == reference_step) return true;
    // It may still become the best.
    return keep_best && checkpoint.step >= state.published_step - Lag(spec) &&
           MayBeEvaluated(spec, state, checkpoint.step) && !state.evaluations.contains(checkpoint.step);
  };
  std::vector<CheckpointEntry> checkpoints;
  for (size_t i = 0; i < state.checkpoints.size(); ++i) {
    if (is_kept(i) == kept) checkpoints.push_back(state.checkpoints[i]);
  }
  return checkpoints;
}

}  // namespace hone::coordinator
