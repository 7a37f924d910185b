#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

// Rows whose dw is summed in one run before the runs are added in order: part of the numerics contract.
constexpr int64_t kRowBlock = 64;

}  // namespace

void RmsNorm(const KernelContext& ctx, const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows,
             int64_t d, float* y, int64_t ldy, float* inverse_rms) {
  HONE_CHECK(rows >= 0 && d > 0 && ldx >= d && ldy >= d)
      << "RmsNorm: rows " << rows << ", d " << d << ", ldx " << ldx << ", ldy " << ldy;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(rows, cpu::GrainFor(d), [&](int64_t begin, int64_t end) {
    table.rms_norm(x + begin * ldx, ldx, w, epsilon, end - begin, d, y + begin * ldy, ldy,
                   inverse_rms == nullptr ? nullptr : inverse_rms + begin);
  });
}

void RmsNormBackward(const KernelContext& ctx, const float* x, int64_t ldx, const float* w, const float* inverse_rms,
                     const float* dy, int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx,
                     int64_t lddx, float* dw) {
  HONE_CHECK(rows >= 0 && d > 0 && ldx >= d && lddy >= d && lddx >= d)
      << "RmsNormBackward: rows " << rows << ", d " << d;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const int64_t blocks = cpu::CeilDiv(rows, kRowBlock);
  float* partial = cpu::Scratch(cpu::ScratchUse::kPartials, static_cast<size_t>(blocks * d));
  ctx.pool().ParallelFor(blocks, cpu::GrainFor(kRowBlock * d), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kRowBlock, count = std::min(kRowBlock, rows - first);
      std::fill_n(partial + b * d, d, 0.0f);
      table.rms_norm_backward(x + first * ldx, ldx, w, inverse_rms + first, dy + first * lddy, lddy, count, d,
                              accumulate_dx, dx + first * lddx, lddx, partial + b * d);
    }
  });
  table.column_sums(partial, d, blocks, d, dw);
}

}  // namespace hone::kernels
