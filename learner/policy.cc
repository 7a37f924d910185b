#include "learner/policy.h"

#include <cstring>
#include <utility>

namespace hone::learner {

Policy::Policy(const kernels::KernelContext& context, LoadedModel loaded, const PolicyOptions& options)
    : context_(context),
      loaded_(std::move(loaded)),
      weights_(context, loaded_.config, options.dtype, /*for_training=*/true),
      model_(context, weights_, options.recompute),
      gradients_(loaded_.masters.size()),
      optimizer_(context, loaded_.config, options.optimizer),
      micro_batch_rule_(MicroBatchRuleOf(options, loaded_.config)) {
  weights_.LoadAll(loaded_.masters);
  ZeroGradients();
}

void Policy::ZeroGradients() {
  model_.DropGradients();
  constexpr int64_t kGrain = 1 << 18;  // 1 MiB: less is not worth a thread
  context_.pool().ParallelFor(static_cast<int64_t>(gradients_.size()), kGrain, [&](int64_t begin, int64_t end) {
    std::memset(gradients_.data() + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

AdamW::StepResult Policy::Update(int64_t optimizer_step) {
  model_.FinishGradients(&gradients_);
  const AdamW::StepResult result = optimizer_.Step(optimizer_step, gradients_, &loaded_.masters);
  if (result.applied) weights_.LoadAll(loaded_.masters);
  return result;
}

}  // namespace hone::learner
