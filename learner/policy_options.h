// What a policy is made with, from the run's file.
#pragma once

#include <cstdint>

#include "learner/optimizer.h"
#include "learner/packing.h"
#include "model/model.h"

namespace hone::v1 {
class OptimizerSpec;
class RunSpec;
}  // namespace hone::v1

namespace hone::learner {

struct PolicyOptions {
  kernels::DType dtype = kernels::DType::kF32;
  OptimizerOptions optimizer;
  model::Recompute recompute = model::Recompute::kNone;
  int64_t micro_batch_tokens = 0;      // 0: MicroBatchTokenBudget of the model
  bool micro_batch_invariant = false;  // MicroBatchRule::whole_units
};

// `optimizer` is the stage's, whose schedule spans `total_optimizer_steps`.
PolicyOptions MakePolicyOptions(const v1::RunSpec& spec, const v1::OptimizerSpec& optimizer,
                                int64_t total_optimizer_steps);

// How micro-batches of a model are packed.
MicroBatchRule MicroBatchRuleOf(const PolicyOptions& options, const model::ModelConfig& config);

}  // namespace hone::learner
