#include "coordinator/core/run_state.h"

#include <gtest/gtest.h>

namespace hone::coordinator {
namespace {

v1::RunStateChanged Becomes(v1::RunState state) {
  v1::RunStateChanged record;
  record.set_run("demo");
  record.set_state(state);
  return record;
}

TEST(RunStateTest, ARecordSaysHowLongTheRunHasRun) {
  RunState run({}, absl::UnixEpoch());
  run.ApplyState(Becomes(v1::RUN_STATE_RUNNING), absl::UnixEpoch());
  v1::RunStateChanged paused = Becomes(v1::RUN_STATE_PAUSED);
  paused.set_running_seconds(4);
  run.ApplyState(paused, absl::UnixEpoch() + absl::Hours(10));
  EXPECT_EQ(run.RunningTime(absl::UnixEpoch() + absl::Hours(20)), absl::Seconds(4));
}

TEST(RunStateTest, RecordsOfBeforeCountFromTheirTimes) {
  RunState run({}, absl::UnixEpoch());
  run.ApplyState(Becomes(v1::RUN_STATE_RUNNING), absl::UnixEpoch() + absl::Seconds(1));
  run.ApplyState(Becomes(v1::RUN_STATE_PAUSED), absl::UnixEpoch() + absl::Seconds(8));
  run.ApplyState(Becomes(v1::RUN_STATE_RUNNING), absl::UnixEpoch() + absl::Seconds(100));
  EXPECT_EQ(run.RunningTime(absl::UnixEpoch() + absl::Seconds(103)), absl::Seconds(10));
}

}  // namespace
}  // namespace hone::coordinator
