// Gemm: rounds A once, then hands blocks of rows and columns to the path's tiles. The split over threads follows the
// shape and the number of threads; one tile sums an output over the whole K, so it leaves no trace.
#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

using cpu::CeilDiv;
using cpu::RoundUp;

// Below this many multiply-adds a second thread costs more than it saves.
constexpr int64_t kInlineProducts = 400 * 1000;
constexpr int64_t kColumnUnit = 96;  // a multiple of every path's tile width

// Rows of A, each of so many bytes, that stay in half of L2 while the weight goes by. Whole tiles on every path.
int64_t RowChunk(int64_t row_bytes) {
  constexpr int64_t kUnit = 96, kMost = 288;
  const int64_t fit = cpu::L2Bytes() / 2 / std::max<int64_t>(row_bytes, 1);
  return fit < kUnit ? kUnit / 2 : std::min(kMost, fit / kUnit * kUnit);
}

}  // namespace

size_t GemmScratchBytes(int64_t m, int64_t k, DType dtype) {
  // Paths that multiply rounded values in fp32 keep them as floats: twice what a path with bf16 products takes.
  return dtype == DType::kF32 ? 0 : static_cast<size_t>(RoundUp(m, 16) * 2 * cpu::Bf16Steps(k)) * sizeof(float);
}

void Gemm(const KernelContext& ctx, const float* a, int64_t lda, int64_t m, const PackedMatrix& w, const float* bias,
          bool accumulate, float* c, int64_t ldc) {
  const int64_t n = w.n(), k = w.k();
  if (m == 0 || n == 0) return;
  HONE_CHECK(m > 0 && lda >= k && ldc >= n)
      << "Gemm: m " << m << ", n " << n << ", k " << k << ", lda " << lda << ", ldc " << ldc;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ThreadPool& pool = ctx.pool();
  const bool bf16 = w.dtype() == DType::kBf16;
  const bool small = m * n * k < kInlineProducts;

  int64_t steps = k, a_stride = lda;
  const void* operand = a;
  if (bf16) {
    steps = cpu::Bf16Steps(k);
    const bool floats = table.bf16_operand == cpu::Bf16Operand::kFloatRows;
    a_stride = floats ? 2 * steps : steps;
    float* rounded = cpu::Scratch(cpu::ScratchUse::kOperand, static_cast<size_t>(RoundUp(m, 16) * a_stride));
    const int64_t groups = CeilDiv(m, 16);
    pool.ParallelFor(groups, small ? groups : cpu::GrainFor(16 * k), [&](int64_t begin, int64_t end) {
      const int64_t last = table.bf16_operand == cpu::Bf16Operand::kTiles ? end * 16 : std::min(m, end * 16);
      table.convert_operand(a, lda, m, begin * 16, last, k, steps, rounded);
    });
    operand = rounded;
  }

  const int64_t row_chunk = RowChunk(a_stride * static_cast<int64_t>(sizeof(float)));
  const int64_t row_chunks = CeilDiv(m, row_chunk);
  const int64_t wanted = small ? 1 : CeilDiv(int64_t{4} * pool.threads(), row_chunks);
  const int64_t columns = std::max(kColumnUnit, RoundUp(CeilDiv(n, wanted), kColumnUnit));
  const int64_t column_chunks = CeilDiv(n, columns);
  const int64_t tasks = row_chunks * column_chunks;
  pool.ParallelFor(tasks, small ? tasks : 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i = task / column_chunks * row_chunk, j = task % column_chunks * columns;
      cpu::GemmBlock block;
      block.a = static_cast<const float*>(operand) + i * a_stride;
      block.a_stride = a_stride;
      block.b = static_cast<const float*>(w.data()) + j * steps;
      block.b_panel_stride = steps * 16;
      block.b_step_stride = 16;
      block.m = std::min(row_chunk, m - i);
      block.n = std::min(columns, n - j);
      block.steps = steps;
      block.c = c + i * ldc + j;
      block.ldc = ldc;
      block.bias = bias == nullptr ? nullptr : bias + j;
      block.mode = accumulate ? cpu::CMode::kAddAfter : cpu::CMode::kStore;
      (bf16 ? table.gemm_bf16 : table.gemm_f32)(block, false);
    }
  });
}

}  // namespace hone::kernels
