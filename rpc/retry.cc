#include "rpc/retry.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <thread>

namespace hone {

bool IsRetryable(absl::StatusCode code) { return code == absl::StatusCode::kUnavailable; }

bool SleepUnless(const std::function<bool()>& cancelled, absl::Duration pause) {
  const absl::Time end = absl::Now() + pause;
  for (;;) {
    if (cancelled && cancelled()) return false;
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) return true;
    absl::SleepFor(std::min(left, absl::Milliseconds(20)));
  }
}

absl::Duration RetryPause(const RetryPolicy& policy, int attempt) {
  absl::Duration pause = policy.initial;
  for (int i = 0; i < attempt && pause < policy.max; ++i) pause *= 2;
  pause = std::min(pause, policy.max);
  uint64_t mix = std::hash<std::thread::id>()(std::this_thread::get_id()) ^ (static_cast<uint64_t>(getpid()) << 32);
  mix = (mix + static_cast<uint64_t>(attempt)) * 0x9E3779B97F4A7C15u;
  const double spread = static_cast<double>(mix >> 40) / static_cast<double>(1 << 24);  // [0, 1)
  return pause * (0.8 + 0.4 * spread);
}

}  // namespace hone
