#include "learner/policy_options.h"

#include "hone/v1/run.pb.h"
#include "model/memory_plan.h"

namespace hone::learner {
namespace {

ScheduleKind KindOf(v1::LrSchedule schedule) {
  switch (schedule) {
    case v1::LR_SCHEDULE_LINEAR:
      return ScheduleKind::kLinear;
    case v1::LR_SCHEDULE_COSINE:
      return ScheduleKind::kCosine;
    default:
      return ScheduleKind::kConstant;
  }
}

kernels::MomentFormat FormatOf(v1::MomentFormat format) {
  switch (format) {
    case v1::MOMENT_FORMAT_BF16:
      return kernels::MomentFormat::kBf16;
    case v1::MOMENT_FORMAT_FP8:
      return kernels::MomentFormat::kF8;
    default:
      return kernels::MomentFormat::kF32;
  }
}

model::Recompute RecomputeOf(v1::Recompute recompute) {
  switch (recompute) {
    case v1::RECOMPUTE_MLP:
      return model::Recompute::kMlp;
    case v1::RECOMPUTE_LAYER:
      return model::Recompute::kLayer;
    default:
      return model::Recompute::kNone;
  }
}

OptimizerOptions MakeOptimizerOptions(const v1::OptimizerSpec& spec, int64_t total_optimizer_steps) {
  OptimizerOptions options;
  options.schedule.peak = spec.learning_rate();
  options.schedule.kind = KindOf(spec.schedule());
  options.schedule.warmup_steps = spec.warmup_steps();
  options.schedule.total_steps = total_optimizer_steps;
  if (spec.has_decay_fraction()) options.schedule.decay_fraction = spec.decay_fraction();
  options.schedule.final_ratio = spec.final_ratio();
  if (spec.has_beta1()) options.beta1 = spec.beta1();
  if (spec.has_beta2()) options.beta2 = spec.beta2();
  if (spec.has_epsilon()) options.epsilon = spec.epsilon();
  options.weight_decay = spec.weight_decay();
  if (spec.has_max_grad_norm()) options.max_grad_norm = spec.max_grad_norm();
  options.moments = FormatOf(spec.moments());
  return options;
}

}  // namespace

PolicyOptions MakePolicyOptions(const v1::RunSpec& spec, const v1::OptimizerSpec& optimizer,
                                int64_t total_optimizer_steps) {
  return {.dtype = spec.numerics().dtype() == v1::DTYPE_BF16 ? kernels::DType::kBf16 : kernels::DType::kF32,
          .optimizer = MakeOptimizerOptions(optimizer, total_optimizer_steps),
          .recompute = RecomputeOf(spec.memory().recompute()),
          .micro_batch_tokens = spec.memory().micro_batch_tokens(),
          .micro_batch_invariant = spec.numerics().micro_batch_invariant()};
}

MicroBatchRule MicroBatchRuleOf(const PolicyOptions& options, const model::ModelConfig& config) {
  // The same with and without recompute: it is there to take less memory, and to leave no trace.
  const int64_t bytes = model::ActivationBytesPerToken(config);
  return {.token_budget = options.micro_batch_tokens > 0 ? options.micro_batch_tokens
                                                         : MicroBatchTokenBudget(static_cast<size_t>(bytes)),
          .whole_units = options.micro_batch_invariant};
}

}  // namespace hone::learner
