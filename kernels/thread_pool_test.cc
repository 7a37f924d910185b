#include "kernels/thread_pool.h"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace hone::kernels {
namespace {

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count : {0, 1, 2, 7, 100, 10007}) {
      for (int64_t grain : {0, 1, 3, 1000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
        std::mutex mutex;
        std::vector<int64_t> lengths;
        pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) seen[static_cast<size_t>(i)].fetch_add(1);
          std::lock_guard<std::mutex> lock(mutex);
          lengths.push_back(end - begin);
        });
        for (auto& s : seen) ASSERT_EQ(s.load(), 1);
        int short_ranges = 0;
        for (int64_t length : lengths) short_ranges += length < grain ? 1 : 0;
        EXPECT_LE(short_ranges, 1);
      }
    }
  }
}

TEST(ThreadPool, ManyShortJobsAndSleepsBetween) {
  ThreadPool pool(3);
  int64_t total = 0;
  for (int job = 0; job < 3000; ++job) {
    std::atomic<int64_t> sum{0};
    pool.ParallelFor(job % 17 + 2, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum.fetch_add(i + 1);
    });
    total += sum.load() - int64_t{job % 17 + 2} * (job % 17 + 3) / 2;
    if (job % 500 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers fall asleep, and must wake
  }
  EXPECT_EQ(total, 0);
}

TEST(ThreadPool, NestedCallsRunOnTheCaller) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  pool.ParallelFor(8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto self = std::this_thread::get_id();
      pool.ParallelFor(10, 1, [&](int64_t b, int64_t e) {
        EXPECT_EQ(std::this_thread::get_id(), self);
        sum.fetch_add(e - b);
      });
    }
  });
  EXPECT_EQ(sum.load(), 80);
}

TEST(ThreadPool, ServesCallersOneAfterAnother) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        pool.ParallelFor(50, 1, [&](int64_t begin, int64_t end) { sum.fetch_add(end - begin); });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 4 * 200 * 50);
}

TEST(ThreadPool, FloatingPointModesAreAlikeInEveryThread) {
  ThreadPool pool(3);
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040 | 0x6000);  // flush to zero, denormals are zero, round toward zero
  std::atomic<int> wrong{0};
  pool.ParallelFor(100, 1, [&](int64_t, int64_t) {
    if ((_mm_getcsr() & 0xffc0) != 0x1f80) wrong.fetch_add(1);
  });
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(_mm_getcsr() & 0xe040, (before | 0x8040 | 0x6000) & 0xe040);  // the caller's own mode is back
  _mm_setcsr(before);
}

}  // namespace
}  // namespace hone::kernels
