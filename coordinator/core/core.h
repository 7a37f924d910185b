// The coordinator's core: a pure state machine. Requests and ticks come in with the time; records to be journaled and
// answers come out. It has no I/O, threads, clock or random numbers, so that any scenario can be written down and
// replayed (testdata/).
//
// State is of two kinds:
//   - durable: runs, stages, versions, recorded groups, the learner's epoch. It changes in Apply alone, by journal
//   records in
//     order; a core that applied the same records is in the same state.
//   - ephemeral: members and leases. Lost at a restart and made anew: workers register again, leases are handed out
//   again.
//
// The caller's duties:
//   1. At start, Apply every record of the journal, then SetPrompts for every run that NeedsPrompts, then Recover.
//   2. Each command may call the appender, once for each record, in order; the appender queues the record for the
//   journal and
//      says where it will lie. The core applies it at once, before it is durable. So:
//   3. No answer may leave the process before every record appended so far is durable (an answer may rest on any of
//   them).
//   4. Tick about once a second, and after SetPrompts.
//   5. Commands that find nothing yet (empty Lease, no work, WAIT) are asked again after any later command or tick.
//
// Not thread-safe. Times given must not go back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/core/admission.h"
#include "coordinator/core/leases.h"
#include "coordinator/core/members.h"
#include "coordinator/core/prompts.h"
#include "coordinator/core/run_state.h"
#include "hone/v1/control.pb.h"
#include "hone/v1/coordinator.pb.h"
#include "hone/v1/journal.pb.h"

namespace hone::coordinator {

struct CoreOptions {
  absl::Duration heartbeat_interval = absl::Seconds(1);
  int missed_heartbeats = 5;  // after so many a member is presumed dead
  absl::Duration lease = absl::Seconds(60);
  // How long a group that every living worker has declined waits for another one before the run fails.
  absl::Duration decline_grace = absl::Seconds(30);
  // Unique for each life of the process; part of member and context ids.
  std::string incarnation = "1";
  // Put before relative model, checkpoint and data paths in what the learner is told; "" leaves them.
  std::string working_directory;
};

// The batch of a step: where its groups lie in the journal, in slot order.
struct BatchAnswer {
  v1::Directive directive = v1::DIRECTIVE_WAIT;
  std::vector<int64_t> positions;  // with CONTINUE
  int64_t journal_position = 0;    // after the last of them
};

class Core {
 public:
  static constexpr int kMaxGroupsPerLease = 256;
  // Of the tasks in one answer, where they are more than one. A row has at most kMaxRowBytes (prompts.h), so that the
  // answer fits a message (rpc/limits.h) with the contexts around them.
  static constexpr size_t kMaxLeaseBytes = 32u << 20;
  // Attempts at one group that are handed in malformed before the run fails.
  static constexpr int kMaxRefusals = 3;

  using Appender = std::function<RecordSpan(const v1::JournalRecord&)>;
  Core(CoreOptions options, Appender append);

  // ---- start
  // DATA_LOSS: the record does not fit the ones before (a run or stage that does not exist).
  absl::Status Apply(const v1::JournalRecord& record, RecordSpan span);
  std::vector<std::string> RunsThatNeedPrompts() const;
  void SetPrompts(const std::string& run, PromptSets prompts);
  // The time before `now` does not count as running: to be called after the last Apply, before a run changes.
  void RestartClock(absl::Time now);
  void Recover(absl::Time now);
  void Tick(absl::Time now);

  // ---- control; each returns the run's name or the Status that control.proto names
  // `spec` is resolved; `prompts` holds each data set that its rl and evaluate stages name. `existed`: the request id
  // is known.
  absl::Status CreateRun(const v1::RunCreated& request, PromptSets prompts, absl::Time now, bool* existed);
  absl::Status PauseRun(const std::string& run, absl::Time now);
  absl::Status ResumeRun(const std::string& run, absl::Time now);
  absl::Status StopRun(const std::string& run, absl::Time now);
  // The run cannot go on, for a reason outside of the core (its data is gone).
  void FailRun(const std::string& run, const std::string& error, absl::Time now);
  absl::StatusOr<v1::Run> DescribeRun(const std::string& run, absl::Time now) const;  // without spec_hash
  std::vector<std::string> RunNames() const;                                          // in order of creation
  const RunState* FindRun(const std::string& run) const;
  std::vector<v1::Member> DescribeMembers(absl::Time now) const;
  // "" or the run that used this request id.
  std::string RunOfRequest(const std::string& request_id) const;
  // What keeps the open groups from being leased, for the log; "" where nothing does.
  std::string Obstacle() const;

  // ---- members and rollout workers
  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request, absl::Time now);
  absl::Status Heartbeat(const v1::HeartbeatRequest& request, absl::Time now);
  // `again`: the same call, asked before without finding tasks. What it says of `holding` may be old by then and is not
  // used.
  absl::StatusOr<v1::LeaseGroupsResponse> LeaseGroups(const v1::LeaseGroupsRequest& request, bool again,
                                                      absl::Time now);
  absl::StatusOr<v1::SubmitGroupResponse> SubmitGroup(const v1::SubmitGroupRequest& request, absl::Time now);
  absl::Status DeclineGroup(const v1::DeclineGroupRequest& request, absl::Time now);

  // ---- the learner
  absl::StatusOr<v1::NextWorkResponse> NextWork(const v1::NextWorkRequest& request, absl::Time now);
  absl::StatusOr<v1::PublishVersionResponse> PublishVersion(const v1::PublishVersionRequest& request, absl::Time now);
  absl::StatusOr<v1::Directive> AwaitRelease(const v1::AwaitReleaseRequest& request, absl::Time now);
  absl::StatusOr<BatchAnswer> FetchBatch(const v1::FetchBatchRequest& request, absl::Time now);
  absl::StatusOr<v1::Directive> ReportStep(const v1::ReportStepRequest& request, absl::Time now);
  absl::StatusOr<v1::ReportCheckpointResponse> ReportCheckpoint(const v1::ReportCheckpointRequest& request,
                                                                absl::Time now);
  absl::Status FinishWork(const v1::FinishWorkRequest& request, absl::Time now);

 private:
  struct LearnerState {  // durable but for `seen`
    int64_t epoch = 0;
    std::string name;
    std::string address;
    std::vector<std::string> numerics_keys;
    absl::Time seen = absl::InfinitePast();
  };

  // Journals and applies one record.
  void Emit(v1::JournalRecord record, absl::Time now);
  void SetState(const RunState& run, v1::RunState state, const std::string& error, absl::Time now);
  // Does what follows from the state by itself: evaluations that are complete, stages that the budget skips, runs that
  // end or begin. Called after every command; idempotent.
  void Advance(absl::Time now);
  bool AdvanceOnce(absl::Time now);
  bool RecordEvaluation(const RunState& run, int stage, absl::Time now);
  bool EvaluationIsWhole(const RunState& run, int stage, int32_t step) const;
  // Fails the run where an evaluation up to `last_step` is whole and measured nothing.
  bool FailUnmeasured(const RunState& run, int stage, int32_t last_step, absl::Time now);
  bool SkipStage(const RunState& run, int stage, absl::Time now);
  // Pauses the run where a step left out updates and the stage's optimizer says so.
  void PauseWhereUpdatesWereSkipped(const RunState& run, int stage, const v1::ReportStepRequest& request,
                                    absl::Time now);

  RunState* MutableRun(const std::string& run);
  absl::StatusOr<RunState*> GetRun(const std::string& run);
  RunState* ActiveRun() const;
  bool LearnerAlive(absl::Time now) const;
  absl::Duration DeadAfter() const { return options_.heartbeat_interval * options_.missed_heartbeats; }

  // ABORTED unless the caller is the current learner; notes that it lives.
  absl::Status CheckLearner(const std::string& member_id, int64_t epoch, absl::Time now);
  // The directive that the run's state dictates; nullopt where it is RUNNING.
  static std::optional<v1::Directive> StateDirective(const RunState& run);
  // The run and its current stage, for a learner call that names both.
  struct Place {
    RunState* run = nullptr;
    int stage = -1;
  };
  absl::StatusOr<Place> FindPlace(const std::string& run, const std::string& stage);

  // What is to be generated with a version that the current learner serves.
  struct WantedSet {
    v1::GroupPurpose purpose;
    int32_t step = 0;           // of the batch or the evaluation
    int32_t sampling_step = 0;  // whose weights sample
  };
  // Of the active run's current stage, by what it published last in the current epoch.
  std::vector<WantedSet> WantedSets(const RunState& run, int stage) const;
  // Opens the wanted sets that are not open and closes the others. A run that ended loses what was open; where it was
  // resumed while its learner heard of neither, the learner goes on with its next call, and what it waits for must be
  // there to be done: else it would wait for ever, or leave a version that is not evaluated. So each of its calls that
  // wait comes here.
  void OpenWork(absl::Time now);
  // How far the newest version's evaluation is, where it has one.
  void DescribeEvaluation(const RunState& run, v1::Run* description) const;
  WorkSet MakeTrainingSet(const RunState& run, int stage, const WantedSet& wanted);
  // Adds the tasks that replace groups of the set's step, up to `slots` in all.
  void AddWaves(const RunState& run, int stage, int32_t slots, WorkSet* set) const;
  // Opens the groups that are to replace some of the step's, in place of the set `key`, where all of that are recorded
  // and some are missing.
  void OpenNextWave(const RunState& run, int stage, int key);
  WorkSet MakeEvaluationSet(const RunState& run, int stage, const WantedSet& wanted);
  v1::TaskContext MakeContext(const RunState& run, int stage, const WantedSet& wanted);
  // `group_stage`: the stage's name as group ids spell it. `retry`: the step for a group that replaces another, else 0.
  static void AddTask(const RunState& run, const std::string& group_stage, const PromptSet& prompts,
                      const PromptPick& pick, int64_t retry, WorkSet* set);
  std::shared_ptr<const PromptSet> FindPrompts(const std::string& run, const std::string& dataset) const;
  // The learner's numerics keys for the run's dtype (all of them where none names it): a worker must have one of them.
  std::vector<std::string> KeysOf(const RunState& run) const;
  absl::Status CheckWorkerKeys(const std::vector<std::string>& keys) const;
  absl::Status DismissWorker(const std::string& id);
  // Frees a group that may not be recorded; malformed once too often, it fails the run. `item` is the group's.
  absl::StatusOr<v1::SubmitGroupResponse> Refuse(const v1::Group& group, const LeaseTable::Item& item,
                                                 const Refusal& refusal, absl::Time now);
  // Fails the run where a group is left that no worker can do.
  void FailStranded(absl::Time now);
  v1::SubmitGroupResponse AnswerRecorded(const v1::Group& group) const;

  const CoreOptions options_;
  const Appender append_;
  LearnerState learner_;
  std::vector<std::unique_ptr<RunState>> runs_;  // in order of creation
  std::map<std::string, std::string> run_by_request_;

  Members members_;
  LeaseTable leases_;
  int64_t next_context_ = 1;
  std::map<std::string, PromptSets> prompts_;  // by run
  struct Cursor {
    std::string run;
    std::string stage;
    std::unique_ptr<PromptCursor> cursor;
  };
  Cursor cursor_;  // of the rl stage that is carried out
};

}  // namespace hone::coordinator
