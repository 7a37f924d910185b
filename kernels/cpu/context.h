// The CPU backend's context: thread pool and instruction path.
#pragma once

#include <memory>

#include "kernels/cpu/isa/table.h"
#include "kernels/ops.h"

namespace hone::kernels::cpu {

inline constexpr IsaPath kAllPaths[] = {IsaPath::kBaseline, IsaPath::kAvx2, IsaPath::kAvx512, IsaPath::kAvx512Bf16,
                                        IsaPath::kAmxBf16};

const KernelTable& TableOf(IsaPath path);
inline const KernelTable& TableOf(const KernelContext& ctx) { return TableOf(ctx.path()); }

// Whether this processor (and operating system) can run the path.
bool CpuHas(IsaPath path);

// Scratch of the calling thread, by purpose: grows to the largest size asked for and stays. Contents do not survive the
// next call for the same purpose on this thread.
enum class ScratchUse { kOperand, kGradientRows, kGradientColumns, kAttention, kPartials, kSample };
float* Scratch(ScratchUse use, size_t floats);

// Size of a core's second-level cache; 512 KiB where the system does not say. For splitting work: never shows in a
// result.
int64_t L2Bytes();

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

AdamWStep MakeAdamWStep(const AdamWParams& params);

// Items per chunk so that a chunk is worth waking a thread for: about 20 us at one element per cycle and vector.
inline int64_t GrainFor(int64_t elements_per_item) {
  constexpr int64_t kElementsPerChunk = 32768;
  return elements_per_item <= 0 ? kElementsPerChunk : CeilDiv(kElementsPerChunk, elements_per_item);
}

// Panels that one task packs from columns: 512 bytes of each row at a time.
inline constexpr int64_t kPackedPanels = 8;

// Steps of a bf16 row of k values, padded.
inline int64_t Bf16Steps(int64_t k) { return RoundUp(CeilDiv(k, 2), kStepAlign); }

}  // namespace hone::kernels::cpu
