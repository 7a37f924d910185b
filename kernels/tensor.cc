#include "kernels/tensor.h"

#include <sys/mman.h>

namespace hone::kernels {

void* AllocateAligned(size_t bytes) {
  // A product walks whole matrices: with pages of 4 KiB their addresses alone overflow the processor's tables. Systems
  // hand out larger pages by themselves or when asked ("madvise"); where they refuse, nothing is lost.
  constexpr size_t kHugePage = size_t{2} << 20, kLeast = 2 * kHugePage;
  const size_t alignment = bytes < kLeast ? 64 : kHugePage;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  if (alignment == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

}  // namespace hone::kernels
