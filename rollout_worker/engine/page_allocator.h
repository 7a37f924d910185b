// Hands out KV pages and counts who holds each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hone::engine {

// Pages [0, page_count). A page is free while nobody holds it. Which page comes next never reaches a result. Not
// thread-safe.
class PageAllocator {
 public:
  explicit PageAllocator(int page_count);
  // A free page, held once; -1 where there is none.
  int32_t Allocate();
  void Retain(int32_t page);
  void Release(int32_t page);
  int holders(int32_t page) const { return holders_[static_cast<size_t>(page)]; }
  int free_count() const { return static_cast<int>(free_.size()); }
  int page_count() const { return static_cast<int>(holders_.size()); }

 private:
  std::vector<int> holders_;
  std::vector<int32_t> free_;  // a stack: recently freed pages are still in the CPU's caches
};

}  // namespace hone::engine
