// A fixed set of threads for data-parallel loops. Which thread runs which index never shows in a result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace hone::kernels {

class ThreadPool {
 public:
  // `threads` workers in all, the caller of ParallelFor among them; 1 = no threads are started.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  int threads() const;
  // Calls body(begin, end) on disjoint ranges covering [0, count), each at least `grain` long but the last; returns
  // when all are done. Rounding and denormal modes are set alike in every thread. Calls from several threads are served
  // one after another; a nested call runs on the caller.
  void ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::kernels
