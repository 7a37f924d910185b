// Learning rate as a pure function of the optimizer step.
#pragma once

#include <cstdint>

namespace hone::learner {

enum class ScheduleKind { kConstant, kLinear, kCosine };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double peak = 0;
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;
  double decay_fraction = 1;  // share of the steps, at the end, over which it decays; before: plateau at the peak
  double final_ratio = 0;     // of the peak, at the last step (linear, cosine)
};

// The rate of step `step` (1 = the first): peak * step / warmup_steps while step <= warmup_steps; then the plateau;
// then, from step max(warmup_steps, round((1 - decay_fraction) total_steps)) on, down to peak * final_ratio at step
// total_steps. Later steps keep the last one's.
double LearningRate(const Schedule& schedule, int64_t step);

}  // namespace hone::learner
