#include "rollout_worker/engine/page_allocator.h"

#include "base/check.h"

namespace hone::engine {

PageAllocator::PageAllocator(int page_count) : holders_(static_cast<size_t>(page_count), 0) {
  free_.reserve(holders_.size());
  for (int32_t page = page_count - 1; page >= 0; --page) free_.push_back(page);
}

int32_t PageAllocator::Allocate() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(page)] = 1;
  return page;
}

void PageAllocator::Retain(int32_t page) {
  HONE_CHECK(holders_[static_cast<size_t>(page)] > 0) << "page " << page << " is free";
  ++holders_[static_cast<size_t>(page)];
}

void PageAllocator::Release(int32_t page) {
  int& holders = holders_[static_cast<size_t>(page)];
  HONE_CHECK(holders > 0) << "page " << page << " is free";
  if (--holders == 0) free_.push_back(page);
}

}  // namespace hone::engine
