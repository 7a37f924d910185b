#include "reward_server/rules/overlong.h"

#include <gtest/gtest.h>

namespace hone::reward {
namespace {

// DAPO's own limits: 20,480 tokens, of which the last 4,096 cost.
TEST(OverlongTest, FallsLinearlyThroughTheBuffer) {
  const OverlongRule rule{.max_tokens = 20480, .buffer_tokens = 4096};
  EXPECT_EQ(ScoreOverlong(rule, 0).value, 0);
  EXPECT_EQ(ScoreOverlong(rule, 16384).value, 0);
  EXPECT_EQ(ScoreOverlong(rule, 16385).value, -1.0 / 4096);
  EXPECT_EQ(ScoreOverlong(rule, 18432).value, -0.5);
  EXPECT_EQ(ScoreOverlong(rule, 20480).value, -1);
  EXPECT_EQ(ScoreOverlong(rule, 20481).value, -1);
}

TEST(OverlongTest, ABufferAsLongAsTheLimitPunishesEveryToken) {
  const OverlongRule rule{.max_tokens = 4, .buffer_tokens = 4};
  EXPECT_EQ(ScoreOverlong(rule, 0).value, 0);
  EXPECT_EQ(ScoreOverlong(rule, 1).value, -0.25);
  EXPECT_EQ(ScoreOverlong(rule, 1).reason, "1 tokens, 1 above 0");
}

}  // namespace
}  // namespace hone::reward
