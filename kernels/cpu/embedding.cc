#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {

void EmbeddingGather(const KernelContext& ctx, const PackedMatrix& table, const int32_t* ids, int64_t rows, float* y) {
  ctx.pool().ParallelFor(rows, cpu::GrainFor(8 * table.k()), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) table.UnpackRow(ids[t], y + t * table.k());
  });
}

void EmbeddingGradient(const KernelContext& ctx, const float* dy, const int32_t* ids, int64_t rows, int64_t d,
                       float* dtable) {
  HONE_CHECK(rows >= 0 && d >= 0) << "EmbeddingGradient: rows " << rows << ", d " << d;
  // Threads share out columns, so that each walks all rows in order.
  constexpr int64_t kColumns = 64;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(cpu::CeilDiv(d, kColumns), cpu::GrainFor(rows * kColumns), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kColumns, count = std::min(d, end * kColumns) - first;
    for (int64_t t = 0; t < rows; ++t) table.add(dy + t * d + first, count, dtable + ids[t] * d + first);
  });
}

}  // namespace hone::kernels
