#include "kernels/thread_pool.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace hone::kernels {
namespace {

// Spins before a worker sleeps, about 50 us: ops of one model step follow each other faster than that, and a futex wake
// costs several microseconds.
constexpr int kSpinsBeforeSleep = 1500;
// Spins of the caller before it gives its core away, for machines with more runnable threads than cores.
constexpr int kSpinsBeforeYield = 20000;
// Chunks per thread: small enough to even out a core that someone else uses, large enough to be cheap.
constexpr int64_t kChunksPerThread = 4;

// Round to nearest even, subnormals kept, exceptions masked: the numerics contract holds in this mode only.
constexpr unsigned kFloatMode = 0x1F80;
constexpr unsigned kModeBits = 0xFFC0;

class FloatModeScope {
 public:
  FloatModeScope() : saved_(_mm_getcsr()) {
    if ((saved_ & kModeBits) != kFloatMode) _mm_setcsr(kFloatMode);
  }
  ~FloatModeScope() {
    if ((saved_ & kModeBits) != kFloatMode) _mm_setcsr(saved_);
  }

 private:
  const unsigned saved_;
};

thread_local bool in_parallel_for = false;

class NestingScope {
 public:
  NestingScope() { in_parallel_for = true; }
  ~NestingScope() { in_parallel_for = false; }
};

}  // namespace

// A job is published by storing its number of chunks in `unclaimed`. Whoever decrements it from r to r - 1 owns chunk r
// - 1, and only then reads the job's fields: they cannot change before that chunk is finished, because the caller waits
// for all of them.
struct ThreadPool::Impl {  // NOLINT(clang-analyzer-optin.performance.Padding): what threads write has lines of its own
  int threads = 1;
  std::vector<std::thread> workers;
  std::mutex one_job;  // held by the caller for the whole of its job

  // Written by the caller before `unclaimed` is stored.
  const std::function<void(int64_t, int64_t)>* body = nullptr;
  int64_t count = 0;
  int64_t chunk = 0;

  alignas(64) std::atomic<int64_t> unclaimed{0};
  alignas(64) std::atomic<int64_t> unfinished{0};
  alignas(64) std::atomic<int> sleepers{0};
  std::atomic<uint32_t> wake_ups{0};
  std::atomic<bool> stop{false};

  // Runs one chunk if any is unclaimed.
  bool RunOne() {
    int64_t r = unclaimed.load(std::memory_order_acquire);
    do {
      if (r <= 0) return false;
    } while (!unclaimed.compare_exchange_weak(r, r - 1, std::memory_order_acq_rel, std::memory_order_acquire));
    const int64_t begin = (r - 1) * chunk;
    (*body)(begin, std::min(count, begin + chunk));
    unfinished.fetch_sub(1, std::memory_order_acq_rel);
    return true;
  }

  void WorkerLoop() {
    FloatModeScope float_mode;
    NestingScope nesting;
    while (!stop.load(std::memory_order_acquire)) {
      bool ran = false;
      for (int spin = 0; spin < kSpinsBeforeSleep; ++spin) {
        if (RunOne()) {
          ran = true;
          break;
        }
        _mm_pause();
      }
      if (ran) continue;
      // Sleep. Sequential consistency: either we see the new job, or its caller sees us among the sleepers.
      const uint32_t seen = wake_ups.load();
      sleepers.fetch_add(1);
      if (unclaimed.load() <= 0 && !stop.load()) wake_ups.wait(seen);
      sleepers.fetch_sub(1);
    }
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  impl_->threads = std::max(1, threads);
  for (int i = 1; i < impl_->threads; ++i) impl_->workers.emplace_back([this] { impl_->WorkerLoop(); });
}

ThreadPool::~ThreadPool() {
  impl_->stop.store(true);
  impl_->wake_ups.fetch_add(1);
  impl_->wake_ups.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
}

int ThreadPool::threads() const { return impl_->threads; }

void ThreadPool::ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  FloatModeScope float_mode;
  grain = std::max<int64_t>(grain, 1);
  Impl& impl = *impl_;
  if (impl.threads == 1 || count <= grain || in_parallel_for) {
    body(0, count);
    return;
  }
  std::lock_guard<std::mutex> lock(impl.one_job);
  NestingScope nesting;
  const int64_t pieces = impl.threads * kChunksPerThread;
  impl.body = &body;
  impl.count = count;
  impl.chunk = std::max(grain, (count + pieces - 1) / pieces);
  const int64_t chunks = (count + impl.chunk - 1) / impl.chunk;
  impl.unfinished.store(chunks, std::memory_order_relaxed);
  impl.unclaimed.store(chunks);
  if (impl.sleepers.load() > 0) {
    impl.wake_ups.fetch_add(1);
    impl.wake_ups.notify_all();
  }
  while (impl.RunOne()) {
  }
  for (int spin = 0; impl.unfinished.load(std::memory_order_acquire) > 0; ++spin) {
    if (spin < kSpinsBeforeYield) {
      _mm_pause();
    } else {
      sched_yield();
    }
  }
}

}  // namespace hone::kernels
