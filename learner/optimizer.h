// AdamW over the flat parameter array, with global gradient-norm clipping (arXiv:1711.05101).
#pragma once

#include <cstdint>
#include <vector>

#include "learner/moments.h"
#include "learner/schedule.h"
#include "model/model.h"

namespace hone::learner {

struct OptimizerOptions {
  Schedule schedule;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;   // on the parameters whose ParameterInfo::decays is set
  double max_grad_norm = 1;  // 0 = no clipping
  kernels::MomentFormat moments = kernels::MomentFormat::kF32;
};

// Not thread-safe. Invariants:
//   1. Masters and moments change only together, in a step with a finite gradient norm.
//   2. State after n updates is a function of the initial state and the n gradients (bits included).
class AdamW {
 public:
  AdamW(const kernels::KernelContext& context, const model::ModelConfig& config, const OptimizerOptions& options);

  struct StepResult {
    double gradient_norm = 0;  // before clipping
    double learning_rate = 0;
    bool applied = false;  // false: the norm is not finite; nothing was changed, and skipped() has risen
  };
  // `step` (1 = the stage's first optimizer step) decides the learning rate; bias correction goes by the updates
  // applied.
  StepResult Step(int64_t step, const model::FlatTensor& gradients, model::FlatTensor* masters);

  const Moments& first_moment() const { return first_moment_; }
  const Moments& second_moment() const { return second_moment_; }
  int64_t updates() const { return updates_; }
  int64_t skipped() const { return skipped_; }
  // Takes up a checkpoint's state, of the same model and the options' format.
  void Restore(Moments first_moment, Moments second_moment, int64_t updates, int64_t skipped);

 private:
  const kernels::KernelContext& context_;
  const OptimizerOptions options_;
  const model::ParameterLayout layout_;
  Moments first_moment_, second_moment_;
  int64_t updates_ = 0;
  int64_t skipped_ = 0;
};

}  // namespace hone::learner
