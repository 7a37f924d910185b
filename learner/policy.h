// The model under training: masters, the weights that kernels read, gradients, optimizer.
#pragma once

#include <cstdint>

#include "learner/model_source.h"
#include "learner/optimizer.h"
#include "learner/policy_options.h"
#include "model/model.h"

namespace hone::learner {

// Owns all of it. Not thread-safe. Invariant: compute weights are always those of the masters.
class Policy {
 public:
  Policy(const kernels::KernelContext& context, LoadedModel loaded, const PolicyOptions& options);

  const kernels::KernelContext& context() const { return context_; }
  const model::ModelConfig& config() const { return loaded_.config; }
  const model::FlatTensor& masters() const { return loaded_.masters; }
  const ModelFiles& files() const { return loaded_.files; }
  kernels::DType dtype() const { return weights_.dtype(); }
  const AdamW& optimizer() const { return optimizer_; }
  void RestoreOptimizer(Moments first_moment, Moments second_moment, int64_t updates, int64_t skipped) {
    optimizer_.Restore(std::move(first_moment), std::move(second_moment), updates, skipped);
  }

  model::TrainingModel& model() { return model_; }
  model::FlatTensor* gradients() { return &gradients_; }
  const MicroBatchRule& micro_batch_rule() const { return micro_batch_rule_; }
  void ZeroGradients();
  // One optimizer step with the gradients, then new compute weights.
  AdamW::StepResult Update(int64_t optimizer_step);

 private:
  const kernels::KernelContext& context_;
  LoadedModel loaded_;
  model::ComputeWeights weights_;
  model::TrainingModel model_;
  model::FlatTensor gradients_;
  AdamW optimizer_;
  const MicroBatchRule micro_batch_rule_;
};

}  // namespace hone::learner
