#include "learner/schedule.h"

#include <algorithm>
#include <cmath>

#include "kernels/math.h"

namespace hone::learner {

double LearningRate(const Schedule& schedule, int64_t step) {
  if (step <= schedule.warmup_steps) {
    return schedule.peak * static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  }
  if (schedule.kind == ScheduleKind::kConstant) return schedule.peak;
  const double total = static_cast<double>(schedule.total_steps);
  const double start =
      std::max(static_cast<double>(schedule.warmup_steps), std::round((1 - schedule.decay_fraction) * total));
  const double position = static_cast<double>(step);
  if (position <= start) return schedule.peak;
  const double progress = total <= start ? 1.0 : std::min(1.0, (position - start) / (total - start));
  constexpr double kPi = 3.14159265358979323846;
  const double left = schedule.kind == ScheduleKind::kLinear ? 1 - progress : (1 + kernels::Cos(kPi * progress)) / 2;
  return schedule.peak * (schedule.final_ratio + (1 - schedule.final_ratio) * left);
}

}  // namespace hone::learner
