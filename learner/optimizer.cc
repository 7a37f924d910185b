#include "learner/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

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
    : context_(context), options_(options) {
  const model::ParameterLayout layout(config);
  size_ = layout.total_size();
  for (const model::ParameterInfo& parameter : layout.entries()) {
    if (!ranges_.empty() && ranges_.back().decays == parameter.decays &&
        ranges_.back().begin + ranges_.back().size == parameter.offset) {
      ranges_.back().size += parameter.size;
    } else {
      ranges_.push_back({parameter.offset, parameter.size, parameter.decays});
    }
  }
  first_moment_.Resize(static_cast<size_t>(size_));
  second_moment_.Resize(static_cast<size_t>(size_));
  std::fill_n(first_moment_.data(), size_, 0.0f);
  std::fill_n(second_moment_.data(), size_, 0.0f);
}

AdamW::StepResult AdamW::Step(int64_t step, const model::FlatTensor& gradients, model::FlatTensor* masters) {
  HONE_CHECK_EQ(gradients.size(), static_cast<size_t>(size_));
  HONE_CHECK_EQ(masters->size(), static_cast<size_t>(size_));
  StepResult result;
  result.learning_rate = LearningRate(options_.schedule, step);
  result.gradient_norm = std::sqrt(kernels::SumOfSquares(context_, gradients.data(), size_));
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
  for (const Range& range : ranges_) {
    params.weight_decay = range.decays ? static_cast<float>(options_.weight_decay) : 0.0f;
    kernels::AdamW(context_, params, range.size, gradients.data() + range.begin, masters->data() + range.begin,
                   first_moment_.data() + range.begin, second_moment_.data() + range.begin);
  }
  result.applied = true;
  return result;
}

void AdamW::Restore(model::FlatTensor first_moment, model::FlatTensor second_moment, int64_t updates, int64_t skipped) {
  HONE_CHECK_EQ(first_moment.size(), static_cast<size_t>(size_));
  HONE_CHECK_EQ(second_moment.size(), static_cast<size_t>(size_));
  first_moment_ = std::move(first_moment);
  second_moment_ = std::move(second_moment);
  updates_ = updates;
  skipped_ = skipped;
}

}  // namespace hone::learner
