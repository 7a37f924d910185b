#include "learner/schedule.h"

#include <gtest/gtest.h>

namespace hone::learner {
namespace {

TEST(Schedule, WarmUpRisesFromTheFirstStepToThePeak) {
  const Schedule schedule{.kind = ScheduleKind::kConstant, .peak = 1e-3, .warmup_steps = 4, .total_steps = 10};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 1), 2.5e-4);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 4), 1e-3);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 10), 1e-3);
}

TEST(Schedule, SmallWorldBase) {
  // 600 steps, warm-up 100, linear to 5 % over the last 40 %.
  const Schedule schedule{.kind = ScheduleKind::kLinear,
                          .peak = 2e-3,
                          .warmup_steps = 100,
                          .total_steps = 600,
                          .decay_fraction = 0.4,
                          .final_ratio = 0.05};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 50), 1e-3);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 100), 2e-3);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 360), 2e-3);
  EXPECT_NEAR(LearningRate(schedule, 480), 2e-3 * (1 + 0.05) / 2, 1e-12);
  EXPECT_NEAR(LearningRate(schedule, 600), 1e-4, 1e-15);
  EXPECT_NEAR(LearningRate(schedule, 700), 1e-4, 1e-15);
}

TEST(Schedule, CosineIsHalfWayInTheMiddle) {
  const Schedule schedule{.kind = ScheduleKind::kCosine, .peak = 2, .total_steps = 100, .final_ratio = 0.5};
  EXPECT_NEAR(LearningRate(schedule, 50), 1.5, 1e-12);
  EXPECT_NEAR(LearningRate(schedule, 100), 1.0, 1e-12);
  EXPECT_GT(LearningRate(schedule, 25), LearningRate(schedule, 26));
}

TEST(Schedule, WarmUpLongerThanThePlateauDelaysTheDecay) {
  const Schedule schedule{.kind = ScheduleKind::kLinear, .peak = 1, .warmup_steps = 80, .total_steps = 100};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 80), 1);
  EXPECT_NEAR(LearningRate(schedule, 90), 0.5, 1e-12);
  EXPECT_EQ(LearningRate(schedule, 100), 0);
  const Schedule all_warm_up{.kind = ScheduleKind::kLinear, .peak = 1, .warmup_steps = 100, .total_steps = 100};
  EXPECT_DOUBLE_EQ(LearningRate(all_warm_up, 100), 1);
}

}  // namespace
}  // namespace hone::learner
