// One piece of work as the learner goes through it: what all stages share between their steps: publishing versions,
// checkpoints, reports, and the way out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "hone/v1/coordinator.pb.h"
#include "learner/checkpoint.h"
#include "learner/checkpoint_writer.h"
#include "learner/coordinator_client.h"
#include "learner/policy.h"
#include "weight_sync/weight_channel.h"

namespace hone::learner {

// What outlives a piece of work. Nothing is owned.
struct LearnerServices {
  const kernels::KernelContext* kernels = nullptr;
  CoordinatorClient* client = nullptr;
  WeightPublisher* weights = nullptr;
};

// SHA-256 of the run's resolved spec, budgets and folders of files apart: what a checkpoint must have been made under
// to be gone on from.
std::string SpecHash(const v1::RunSpec& spec);

// Not thread-safe. The version of step s is first_version + s.
class WorkSession {
 public:
  WorkSession(const LearnerServices& services, const v1::LearnerWork& work);
  ~WorkSession();
  WorkSession(const WorkSession&) = delete;
  WorkSession& operator=(const WorkSession&) = delete;

  const v1::LearnerWork& work() const { return work_; }
  const v1::StageSpec& stage() const { return work_.spec().stages(work_.stage_index()); }
  const kernels::KernelContext& kernels() const { return *services_.kernels; }
  CoordinatorClient& client() { return *services_.client; }
  kernels::DType dtype() const;
  int64_t version(int32_t step) const { return work_.first_version() + step; }
  bool cancelled() const { return services_.client->cancelled(); }

  // Reads what the work begins with: `resume_checkpoint`, moments included, else `start`. DATA_LOSS,
  // FAILED_PRECONDITION: a checkpoint that is damaged or of another run, stage or spec; else as LoadOrigin. To be
  // called once, before all that follows.
  absl::Status Load();
  const model::ModelConfig& config() const { return loaded_.model.config; }
  const ModelFiles& files() const { return loaded_.model.files; }
  // The weights after `step` steps of this stage, from the checkpoint of that step. Errors as Load.
  absl::StatusOr<LoadedModel> LoadEarlier(int32_t step) const;
  // The policy made of what was loaded, which this uses up.
  std::unique_ptr<Policy> TakePolicy(const PolicyOptions& options);
  // Says what the stage reads beside it (a data file, the reference's weights), by a name that does not depend on where
  // it lies. Checkpoints hold it. FAILED_PRECONDITION: what was resumed from had been trained with another one.
  absl::Status NoteInput(const std::string& name, const std::string& sha256);
  // Steps that what was loaded contains.
  int32_t resume_step() const { return resume_step_; }

  // Hands the weights after `step` to the weight service and says so; true: evaluation is due at them.
  absl::StatusOr<bool> Publish(const kernels::KernelContext& context, const model::ModelConfig& config,
                               const model::FlatTensor& masters, const ModelFiles& files, int32_t step);
  absl::StatusOr<bool> Publish(const Policy& policy, int32_t step) {
    return Publish(policy.context(), policy.config(), policy.masters(), policy.files(), step);
  }
  // Where samplers are one step behind, and what was loaded has a step before it: publishes the weights of that step,
  // too, for its groups may not all be made.
  absl::Status PublishPrevious(const Policy& policy);
  // Position in the journal that later checkpoints name.
  void set_journal_position(int64_t position) { journal_position_ = position; }
  // Writes, reports, and removes folders that the coordinator no longer needs. Does nothing where the newest is of this
  // step. With kMayLag and checkpoints.asynchronous it returns once the state is copied: what is left is done by the
  // next call, or by TakeUpCheckpoint.
  enum class Urgency { kNow, kMayLag };
  absl::Status WriteCheckpoint(const Policy& policy, int32_t step, Urgency urgency);
  // Reports a checkpoint that was written in the meantime; its error where that failed. The client comes here by itself
  // while it waits.
  absl::Status TakeUpCheckpoint();
  // Ends the work with the newest checkpoint, which must be of step `steps` and written.
  absl::Status Finish(v1::WorkOutcome outcome, int32_t steps);
  // Seconds spent in Publish and WriteCheckpoint since the last call, as metrics.
  void TakeTimes(std::map<std::string, double>* metrics);

 private:
  // Hands the snapshot to the weight service and says so.
  absl::StatusOr<bool> Announce(std::shared_ptr<const WeightSnapshot> snapshot, int32_t step);
  // The published weights of the step before `step` where samplers may still need them; null where they do not.
  std::shared_ptr<const WeightSnapshot> SnapshotBefore(int32_t step) const;
  // Waits for the checkpoint that is being written, if there is one, and does what follows a written one.
  absl::Status AwaitCheckpoint();
  // What follows the writing of being_written_.
  absl::Status ReportCheckpoint(absl::StatusOr<std::string> written);
  std::string CheckpointFolder() const;
  // The checkpoint at `path`, which must be of this run's and stage's step `step`.
  absl::StatusOr<Checkpoint> LoadOwn(const std::string& path, int32_t step, CheckpointParts parts) const;
  std::string RootHashOf(const model::ModelConfig& config, const model::FlatTensor& masters, int32_t step);

  const LearnerServices services_;
  const v1::LearnerWork work_;
  const std::string spec_hash_;
  const int lag_;                                                 // versions beside the newest that samplers may need
  std::vector<std::shared_ptr<const WeightSnapshot>> published_;  // the newest 1 + lag_, where lag_ is not 0
  Checkpoint loaded_;
  int32_t resume_step_ = 0;
  int64_t journal_position_ = 0;
  std::map<std::string, std::string> inputs_;          // this sitting's
  std::map<std::string, std::string> earlier_inputs_;  // those of the checkpoint that was resumed from
  int32_t hashed_step_ = -1;                           // of root_hash_
  std::string root_hash_;
  CheckpointWriter writer_;
  CheckpointState being_written_;  // the newest that was begun
  int32_t checkpoint_step_ = -1;   // of the newest that is written or being written
  std::string checkpoint_path_, checkpoint_hash_;
  double publish_seconds_ = 0, checkpoint_seconds_ = 0;
};

// True where a checkpoint is due after `step` by the run's rule (checkpoints.every_steps).
bool CheckpointDue(const v1::RunSpec& spec, int32_t step);

}  // namespace hone::learner
