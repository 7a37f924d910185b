// How commands meet the core, the journal and the clock. Private to service/.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "coordinator/service/coordinator.h"

namespace hone::coordinator {

template <typename F>
auto Coordinator::Execute(F&& command) -> decltype(command(std::declval<Core&>(), absl::Time())) {
  int64_t end = 0;
  std::unique_lock lock(mutex_);
  // A stalled journal takes nothing new: what the core does not know it cannot lose.
  if (absl::Status ready = journal_->Ready(); !ready.ok()) return ready;
  auto answer = command(*core_, Now());
  end = journal_->end();
  ++change_count_;
  lock.unlock();
  changed_.notify_all();
  if (absl::Status durable = journal_->WaitDurable(end); !durable.ok()) return durable;
  return answer;
}

template <typename F>
auto Coordinator::Query(F&& command) -> decltype(command(std::declval<const Core&>(), absl::Time())) {
  std::unique_lock lock(mutex_);
  auto answer = command(*core_, Now());
  const int64_t end = journal_->end();
  lock.unlock();
  if (absl::Status durable = journal_->WaitDurable(end); !durable.ok()) return durable;
  return answer;
}

template <typename F, typename Done>
auto Coordinator::Poll(absl::Duration wait, const Cancelled& cancelled, F&& command, Done&& done)
    -> decltype(command(std::declval<Core&>(), absl::Time())) {
  const absl::Time deadline = absl::Now() + std::min(wait, kMaxWait);
  std::unique_lock lock(mutex_);
  while (true) {
    if (absl::Status ready = journal_->Ready(); !ready.ok()) return ready;
    const int64_t before = journal_->end();
    auto answer = command(*core_, Now());
    const int64_t end = journal_->end();
    if (end != before) {
      ++change_count_;
      changed_.notify_all();
    }
    const absl::Duration left = deadline - absl::Now();
    if (!answer.ok() || done(*answer) || left <= absl::ZeroDuration() || (cancelled && cancelled())) {
      lock.unlock();
      if (absl::Status durable = journal_->WaitDurable(end); !durable.ok()) return durable;
      return answer;
    }
    if (closing_) return absl::UnavailableError("the coordinator is shutting down");
    // Looks at least once a second whether the caller is still there.
    const int64_t seen = change_count_;
    changed_.wait_for(lock, absl::ToChronoNanoseconds(std::min(left, absl::Seconds(1))),
                      [&] { return closing_.load() || change_count_ != seen; });
  }
}

}  // namespace hone::coordinator
