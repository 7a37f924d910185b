#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {

void Rope(const KernelContext& ctx, float* x, int64_t ldx, int64_t rows, int heads, int head_dim,
          const int32_t* positions, const float* cos_table, const float* sin_table, bool inverse) {
  HONE_CHECK(rows >= 0 && head_dim % 2 == 0 && ldx >= int64_t{heads} * head_dim)
      << "Rope: rows " << rows << ", heads " << heads << ", head_dim " << head_dim << ", ldx " << ldx;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const int64_t half = head_dim / 2;
  ctx.pool().ParallelFor(rows, cpu::GrainFor(int64_t{heads} * head_dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t angle = positions[t] * half;
      table.rotate(x + t * ldx, heads, head_dim, cos_table + angle, sin_table + angle, inverse);
    }
  });
}

}  // namespace hone::kernels
