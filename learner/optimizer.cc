#include "learner/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "kernels/random.h"

namespace hone::learner {
namespace {

// beta^n by repeated squaring: plain products, the same bits everywhere.
double IntegerPower(double beta, int64_t n) {
  double result = 1;
  for (; n > 0; n >>= 1, beta *= beta) {
    if (n & 1) result *= beta;
  }
  return result;
}

}  // namespace

AdamW::AdamW(const kernels::KernelContext& context, const model::ModelConfig& config, const OptimizerOptions& options)
    : context_(context),
      options_(options),
      layout_(config),
      first_moment_(config, options.moments),
      second_moment_(config, options.moments) {}

AdamW::StepResult AdamW::Step(int64_t step, const model::FlatTensor& gradients, model::FlatTensor* masters) {
  const int64_t size = layout_.total_size();
  HONE_CHECK_EQ(gradients.size(), static_cast<size_t>(size));
  HONE_CHECK_EQ(masters->size(), static_cast<size_t>(size));
  StepResult result;
  result.learning_rate = LearningRate(options_.schedule, step);
  result.gradient_norm = std::sqrt(kernels::SumOfSquares(context_, gradients.data(), size));
  if (!std::isfinite(result.gradient_norm)) {
    ++skipped_;
    return result;
  }
  ++updates_;
  kernels::AdamWParams params{};
  params.learning_rate = static_cast<float>(result.learning_rate);
  params.beta1 = static_cast<float>(options_.beta1);
  params.beta2 = static_cast<float>(options_.beta2);
  params.epsilon = static_cast<float>(options_.epsilon);
  params.bias_correction1 = 1 - IntegerPower(options_.beta1, updates_);
  params.bias_correction2 = 1 - IntegerPower(options_.beta2, updates_);
  // As torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), never above 1.
  params.gradient_scale =
      options_.max_grad_norm > 0
          ? static_cast<float>(std::min(1.0, options_.max_grad_norm / (result.gradient_norm + 1e-6)))
          : 1.0f;
  for (size_t i = 0; i < layout_.entries().size(); ++i) {
    const model::ParameterInfo& parameter = layout_.entries()[i];
    params.weight_decay = parameter.decays ? static_cast<float>(options_.weight_decay) : 0.0f;
    // Which way a stored moment is rounded must not follow from the last time.
    const uint64_t key = kernels::StreamKey(static_cast<uint64_t>(updates_), "moments", i);
    kernels::AdamWStored(context_, params, parameter.size, gradients.data() + parameter.offset,
                         masters->data() + parameter.offset, options_.moments, first_moment_.View(i),
                         second_moment_.View(i), key);
  }
  result.applied = true;
  return result;
}

void AdamW::Restore(Moments first_moment, Moments second_moment, int64_t updates, int64_t skipped) {
  for (const Moments* moments : {&first_moment, &second_moment}) {
    HONE_CHECK(moments->format() == options_.moments) << "moments of another format";
    HONE_CHECK_EQ(moments->elements().size(), layout_.entries().size());
  }
  first_moment_ = std::move(first_moment);
  second_moment_ = std::move(second_moment);
  updates_ = updates;
  skipped_ = skipped;
}

}  // namespace hone::learner
