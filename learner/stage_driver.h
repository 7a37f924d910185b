// What follows every step of a training stage, in one order for all stages.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "learner/policy.h"
#include "learner/work_session.h"

namespace hone::learner {

// The step that a stage of `total` steps ends with: an earlier one where its budget ran out in an earlier life.
int32_t LastStep(const v1::LearnerWork& work, int32_t total);

// When a stage publishes and evaluates beyond what its kind does by itself.
struct StagePlan {
  int32_t total_steps = 0;
  const v1::PeriodicEvalSpec* evaluate = nullptr;  // null: none
  bool publish_every_step = false;                 // rl
  // Every so many steps the weights become the reference: who resumes later needs that step's checkpoint. 0: never.
  int32_t reference_refresh_steps = 0;
};

// Carries a stage from step to step. Not thread-safe.
//
// After step s: publish (where due), report the step, checkpoint (where due), wait for the release (supervised stages
// and the last step). So a version's workers are at work while the checkpoint is written, and a step is reported before
// a checkpoint can make it unrepeatable. Each of these may be repeated after a crash; all are idempotent.
class StageDriver {
 public:
  StageDriver(WorkSession* session, Policy* policy, const StagePlan& plan);

  // Publishes and evaluates the weights that the stage begins (or goes on) with.
  absl::StatusOr<Flow> Begin(int32_t step);
  absl::StatusOr<Flow> AfterStep(int32_t step, std::map<std::string, double> metrics);
  // The stage's end for every flow but kContinue; `steps` are done. kFinish: final version, evaluation, checkpoint.
  absl::Status End(Flow flow, int32_t steps);

 private:
  bool EvaluationMayBeDue(int32_t step) const;
  bool CheckpointWanted(int32_t step) const;

  WorkSession* session_;
  Policy* policy_;
  const StagePlan plan_;
};

}  // namespace hone::learner
