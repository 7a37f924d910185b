#include "rpc/retry.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

const RetryPolicy kFast{absl::Milliseconds(1), absl::Milliseconds(4), absl::InfiniteDuration()};

TEST(RetryTest, OnlyUnavailableIsRepeated) {
  for (int code = 0; code <= 16; ++code) {
    EXPECT_EQ(IsRetryable(static_cast<absl::StatusCode>(code)), code == 14) << code;
  }
}

TEST(RetryTest, RepeatsUntilTheCallSucceeds) {
  int calls = 0;
  EXPECT_TRUE(CallWithRetry(kFast, nullptr, [&] {
                return ++calls < 5 ? absl::UnavailableError("away") : absl::OkStatus();
              }).ok());
  EXPECT_EQ(calls, 5);
}

TEST(RetryTest, OtherErrorsComeBackAtOnce) {
  int calls = 0;
  const absl::Status status = CallWithRetry(kFast, nullptr, [&] {
    ++calls;
    return absl::DataLossError("bad");
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(calls, 1);
}

TEST(RetryTest, GivesUpWithTheLastError) {
  RetryPolicy policy = kFast;
  policy.give_up = absl::Milliseconds(30);
  int calls = 0;
  const absl::Status status = CallWithRetry(policy, nullptr, [&] {
    ++calls;
    return absl::UnavailableError("still away");
  });
  EXPECT_EQ(status, absl::UnavailableError("still away"));
  EXPECT_GT(calls, 1);
}

TEST(RetryTest, CancellationEndsThePause) {
  RetryPolicy slow{absl::Hours(1), absl::Hours(1), absl::InfiniteDuration()};
  int calls = 0;
  const absl::Status status = CallWithRetry(
      slow, [&] { return calls > 0; },
      [&] {
        ++calls;
        return absl::UnavailableError("away");
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST(RetryTest, PausesDoubleUpToTheMaximumWithinTheSpread) {
  const RetryPolicy policy{absl::Milliseconds(100), absl::Seconds(1), absl::InfiniteDuration()};
  const double expected[] = {0.1, 0.2, 0.4, 0.8, 1.0, 1.0};
  for (int attempt = 0; attempt < 6; ++attempt) {
    const double pause = absl::ToDoubleSeconds(RetryPause(policy, attempt));
    EXPECT_GE(pause, 0.8 * expected[attempt]);
    EXPECT_LE(pause, 1.2 * expected[attempt]);
  }
}

}  // namespace
}  // namespace hone
