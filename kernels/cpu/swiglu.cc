#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {

void SwiGlu(const KernelContext& ctx, const float* gate_up, int64_t rows, int64_t f, float* y) {
  HONE_CHECK(rows >= 0 && f >= 0) << "SwiGlu: rows " << rows << ", f " << f;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(rows, cpu::GrainFor(4 * f), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) table.swiglu(gate_up + t * 2 * f, gate_up + t * 2 * f + f, f, y + t * f);
  });
}

void SwiGluBackward(const KernelContext& ctx, const float* gate_up, const float* dy, int64_t rows, int64_t f,
                    float* dgate_up) {
  HONE_CHECK(rows >= 0 && f >= 0) << "SwiGluBackward: rows " << rows << ", f " << f;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(rows, cpu::GrainFor(5 * f), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = gate_up + t * 2 * f;
      float* dgate = dgate_up + t * 2 * f;
      table.swiglu_backward(gate, gate + f, dy + t * f, f, dgate, dgate + f);
    }
  });
}

}  // namespace hone::kernels
