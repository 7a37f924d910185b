// How much memory a learner takes in a stage, at most, from the run's file and the model's configuration alone.
#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "model/config.h"

namespace hone::v1 {
class RunSpec;
class StageSpec;
}  // namespace hone::v1

namespace hone::learner {

// Bytes of what Policy, the optimizer, the step and the weight server hold at the same time. Not counted: the program
// itself, data rows, and files that are mapped while they are read.
struct LearnerMemory {
  int64_t masters = 0;
  int64_t compute_weights = 0;
  int64_t gradients = 0;
  int64_t moments = 0;
  int64_t reference = 0;    // weights and activations of the reference model; 0 where the stage holds none
  int64_t published = 0;    // versions as they are sent: those that samplers may need, and the next while it is made
  int64_t checkpoint = 0;   // what a checkpoint is written from beside the state itself
  int64_t activations = 0;  // of the largest micro-batch, with everything that a pass over it works in
  int64_t scratch = 0;      // of the kernels
  int64_t micro_batch_tokens = 0;
  int64_t total() const {
    return masters + compute_weights + gradients + moments + reference + published + checkpoint + activations + scratch;
  }
};

// `stage` is one of the resolved `spec`. Stages that do not train hold masters and one version.
LearnerMemory PlanLearnerMemory(const v1::RunSpec& spec, const v1::StageSpec& stage, const model::ModelConfig& config,
                                int threads);

}  // namespace hone::learner
