// Calls again after UNAVAILABLE, with exponential back-off. Nothing else is safe to repeat blindly (AIP-194).
#pragma once

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hone {

struct RetryPolicy {
  absl::Duration initial = absl::Milliseconds(50);    // before the second attempt; doubles each time
  absl::Duration max = absl::Seconds(2);              // longest pause
  absl::Duration give_up = absl::InfiniteDuration();  // since the first attempt; then the last error is returned
};

// True for UNAVAILABLE alone.
bool IsRetryable(absl::StatusCode code);

// Sleeps for `pause`, less where `cancelled` (may be empty) turns true: checked every 20 ms. Returns false if it did.
bool SleepUnless(const std::function<bool()>& cancelled, absl::Duration pause);

// The pause before attempt `attempt` + 2: policy.initial doubled `attempt` times, at most policy.max, spread by +-20 %
// over threads and processes so that many clients of a restarted server do not come back in one moment.
absl::Duration RetryPause(const RetryPolicy& policy, int attempt);

// Runs `call` (returning absl::Status) until it returns OK or a status that is not retryable, or `policy.give_up` has
// passed, or `cancelled` (may be empty) is true: then CANCELLED. `call` must make a fresh grpc::ClientContext each
// time.
template <typename F>
absl::Status CallWithRetry(const RetryPolicy& policy, const std::function<bool()>& cancelled, F&& call) {
  const absl::Time start = absl::Now();
  for (int attempt = 0;; ++attempt) {
    if (cancelled && cancelled()) return absl::CancelledError("the call was given up: shutting down");
    absl::Status status = call();
    if (status.ok() || !IsRetryable(status.code())) return status;
    const absl::Duration pause = RetryPause(policy, attempt);
    if (absl::Now() + pause - start > policy.give_up) return status;
    if (!SleepUnless(cancelled, pause)) return absl::CancelledError("the call was given up: shutting down");
  }
}

}  // namespace hone
