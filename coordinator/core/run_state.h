// The durable state of one run: what its journal records say, and nothing else.
//
// Apply* methods are the only mutators and never fail: a record was checked before it was written. Everything else
// derives from this state. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/aggregate.h"
#include "hone/v1/control.pb.h"
#include "hone/v1/coordinator.pb.h"
#include "hone/v1/journal.pb.h"

namespace hone::coordinator {

// Where a record lies in the journal: [begin, end).
struct RecordSpan {
  int64_t begin = 0;
  int64_t end = 0;
};

struct RecordedGroup {
  RecordSpan span;
  uint64_t group_id = 0;
  int32_t attempt = 0;
  std::string worker;
  GroupSummary summary;
};

// Those of a step or an evaluation, by slot.
using StepGroups = std::map<int32_t, RecordedGroup>;
std::vector<const GroupSummary*> SummariesOf(const StepGroups& groups);

struct CheckpointEntry {
  int32_t step = 0;
  std::string path;
  std::string root_hash;
};

struct StageState {
  bool finished = false;
  bool skipped = false;    // finished without being carried out: the budget was used up
  std::string final_path;  // training: final checkpoint; export: the folder
  std::string final_root_hash;
  int32_t final_step = 0;       // the step that final_path contains
  int32_t steps_total = 0;      // 0: not known (yet)
  int32_t steps_done = 0;       // steps reported; once finished, the steps that used up version numbers
  int32_t finish_step = -1;     // the step whose report used up the budget
  int32_t published_step = -1;  // by the last VersionPublished
  int64_t published_epoch = -1;
  absl::Time published_time;
  // Recorded groups by step and slot. Training steps are forgotten once a durable checkpoint and a report cover them,
  // evaluations once their figures are recorded.
  std::map<int32_t, StepGroups> train_groups;
  std::map<int32_t, StepGroups> evaluation_groups;
  std::map<int32_t, absl::Time> train_published;   // publication of the version that made step's groups
  std::map<int32_t, absl::Time> train_last_group;  // arrival of step's last group
  std::map<int32_t, Metrics> evaluations;          // figures by step
  Metrics latest_metrics;                          // of its steps and evaluations, of each name the newest
  std::vector<CheckpointEntry> checkpoints;        // by rising step; one for each step
};

// Where a stage's weights come from and how its versions are numbered.
struct StageStart {
  v1::WeightsOrigin weights;
  int64_t first_version = 0;
  int64_t parent_version = -1;
  std::string root_hash;  // of the first version where known before it was published, else ""
};

class RunState {
 public:
  RunState(const v1::RunCreated& record, absl::Time time);

  void ApplyState(const v1::RunStateChanged& record, absl::Time time);
  void ApplyVersion(const v1::VersionPublished& record, absl::Time time);
  void ApplyGroup(const v1::GroupRecorded& record, RecordSpan span, absl::Time time);
  void ApplyStep(const v1::StepRecorded& record, absl::Time time);
  void ApplyCheckpoint(const v1::CheckpointRecorded& record);
  void ApplyEvaluation(const v1::EvaluationRecorded& record);
  void ApplyStageFinished(const v1::StageFinished& record);

  const std::string& name() const { return spec_.name(); }
  const v1::RunSpec& spec() const { return spec_; }
  const std::string& output_dir() const { return output_dir_; }
  // Of the prompt files that the run began with, by path.
  const std::map<std::string, std::string>& source_sha256() const { return source_sha256_; }
  v1::RunState state() const { return state_; }
  const std::string& error() const { return error_; }
  absl::Time create_time() const { return create_time_; }
  absl::Time end_time() const { return end_time_; }  // InfinitePast while it has not ended
  // Of each name the newest, whichever stage it is of.
  const Metrics& latest_metrics() const { return latest_metrics_; }
  const StageState& stage(int index) const { return stages_[static_cast<size_t>(index)]; }
  int stage_count() const { return static_cast<int>(stages_.size()); }
  // -1 where the run has no such stage.
  int StageIndex(const std::string& stage) const;
  // The first stage that is not finished; stage_count() where all are.
  int CurrentStage() const;
  // RUNNING, PAUSED or STOPPING: the run that has the learner.
  bool IsActive() const;
  bool HasEnded() const;
  // The hash published for version `number`; "" where none was.
  std::string PublishedHash(int64_t number) const;
  // The learner epoch that published it last; -1 where none did.
  int64_t PublishedEpoch(int64_t number) const;

  // Time spent in RUNNING. Time in which the coordinator was down does not count: RestartClock says when it came back.
  absl::Duration RunningTime(absl::Time now) const;
  void RestartClock(absl::Time now);
  bool BudgetUsedUp(absl::Time now) const;

  // Start of stage `index`; all earlier stages must be finished. A skipped stage is transparent: who starts from it
  // starts from what it would have started from.
  StageStart StartOf(int index) const;
  // Steps whose groups are no longer kept: a durable checkpoint contains them and they were reported.
  int32_t CoveredStep(int index) const;
  // Newest durable checkpoint of the stage; nullptr where none.
  const CheckpointEntry* NewestCheckpoint(int index) const;
  // What a later stage starts from, as far as it is known: `path` is empty where there is nothing yet.
  CheckpointEntry Result(int index) const;
  // The checkpoint with the highest pass@1 (ties: the earliest); nullptr where none was evaluated and kept.
  const CheckpointEntry* BestCheckpoint(int index) const;
  // The best checkpoint of a stage with `keep_best`; nullptr where it has none (yet), or does not keep it.
  const CheckpointEntry* BestToKeep(int index) const;
  // Checkpoints of the stage that retention does not need: all but the newest `keep_last`, the best (where the stage
  // keeps it), the final one, the one that whoever resumes has its reference from, and those that an evaluation may
  // still make the best.
  std::vector<CheckpointEntry> ObsoleteCheckpoints(int index) const { return Retained(index, false); }
  // The others, by rising step.
  std::vector<CheckpointEntry> KeptCheckpoints(int index) const { return Retained(index, true); }

 private:
  StageState& Stage(const std::string& stage);
  std::vector<CheckpointEntry> Retained(int index, bool kept) const;
  void NoteMetrics(const google::protobuf::Map<std::string, double>& metrics, StageState* stage);
  void ForgetCoveredSteps(StageState& stage);
  int OriginStage(int index) const;  // -1: a root
  v1::WeightsOrigin RootOrigin(int index) const;

  v1::RunSpec spec_;
  std::map<std::string, std::string> source_sha256_;
  std::string output_dir_;
  v1::RunState state_ = v1::RUN_STATE_QUEUED;
  std::string error_;
  absl::Time create_time_;
  absl::Time end_time_ = absl::InfinitePast();
  absl::Duration running_time_;              // up to running_since_
  std::optional<absl::Time> running_since_;  // set while RUNNING
  Metrics latest_metrics_;
  std::vector<StageState> stages_;
  std::map<int64_t, v1::PolicyVersion> versions_;
};

}  // namespace hone::coordinator
