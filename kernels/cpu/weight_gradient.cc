// GemmWeightGradient and BiasGradient: sums over rows, in row blocks of a fixed size, ascending.
#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

using cpu::CeilDiv;

constexpr int64_t kRowBlock = 512;   // rows summed before dw is touched: part of the numerics contract
constexpr int64_t kChunkRows = 128;  // of dw, per task
constexpr int64_t kChunkColumns = 192;

}  // namespace

size_t GemmWeightGradientScratchBytes(int64_t m, int64_t n, int64_t k) {
  const int64_t rows = std::min(m, kRowBlock);
  const int64_t steps = std::max(rows, cpu::Bf16Steps(rows));
  return static_cast<size_t>((CeilDiv(n, 16) + CeilDiv(k, 16)) * steps * 16) * sizeof(float);
}

void GemmWeightGradient(const KernelContext& ctx, const float* dy, int64_t ld_dy, const float* x, int64_t ld_x,
                        int64_t m, int64_t n, int64_t k, DType dtype, float* dw) {
  HONE_CHECK(m >= 0 && ld_dy >= n && ld_x >= k)
      << "GemmWeightGradient: m " << m << ", n " << n << ", k " << k << ", ld_dy " << ld_dy << ", ld_x " << ld_x;
  if (m == 0 || n == 0 || k == 0) return;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ThreadPool& pool = ctx.pool();
  const bool bf16 = dtype == DType::kBf16;
  // Paths without a bf16 dot product multiply the rounded values in fp32.
  const bool pairs = bf16 && table.bf16_operand != cpu::Bf16Operand::kFloatRows;
  const int64_t most_rows = std::min(m, kRowBlock);
  const int64_t most_steps = pairs ? cpu::Bf16Steps(most_rows) : most_rows;
  const int64_t n_panels = CeilDiv(n, 16), k_panels = CeilDiv(k, 16);
  float* dy_panels = cpu::Scratch(cpu::ScratchUse::kGradientRows, static_cast<size_t>(n_panels * most_steps * 16));
  float* x_panels = cpu::Scratch(cpu::ScratchUse::kGradientColumns, static_cast<size_t>(k_panels * most_steps * 16));
  const int64_t row_chunks = CeilDiv(n, kChunkRows), column_chunks = CeilDiv(k, kChunkColumns);

  for (int64_t block = 0; block < m; block += kRowBlock) {
    const int64_t rows = std::min(kRowBlock, m - block);
    const int64_t steps = pairs ? cpu::Bf16Steps(rows) : rows;
    const bool small = rows * n * k < 400 * 1000;
    const int64_t dy_groups = CeilDiv(n_panels, cpu::kPackedPanels),
                  groups = dy_groups + CeilDiv(k_panels, cpu::kPackedPanels);
    pool.ParallelFor(groups, small ? groups : 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        const bool of_dy = group < dy_groups;
        const int64_t panel = (of_dy ? group : group - dy_groups) * cpu::kPackedPanels;
        const int64_t ld = of_dy ? ld_dy : ld_x;
        const int64_t columns = std::min((of_dy ? n : k) - panel * 16, cpu::kPackedPanels * 16);
        const float* source = (of_dy ? dy + block * ld_dy : x + block * ld_x) + panel * 16;
        float* out = (of_dy ? dy_panels : x_panels) + panel * steps * 16;
        if (pairs) {
          table.pack_columns_bf16(source, ld, columns, rows, steps, reinterpret_cast<uint32_t*>(out));
          if (of_dy && table.bf16_operand == cpu::Bf16Operand::kTiles) {
            table.transpose_blocks(reinterpret_cast<uint32_t*>(out), CeilDiv(columns, 16) * steps / 16);
          }
        } else {
          table.pack_columns_f32(source, ld, columns, rows, bf16, out);
        }
      }
    });
    const int64_t tasks = row_chunks * column_chunks;
    pool.ParallelFor(tasks, small ? tasks : 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t i = task / column_chunks * kChunkRows, j = task % column_chunks * kChunkColumns;
        cpu::GemmBlock g;
        g.a = dy_panels + i * steps;
        g.a_stride = 16;
        g.a_panel_stride = steps * 16;
        g.b = x_panels + j * steps;
        g.b_panel_stride = steps * 16;
        g.b_step_stride = 16;
        g.m = std::min(kChunkRows, n - i);
        g.n = std::min(kChunkColumns, k - j);
        g.steps = steps;
        g.c = dw + i * k + j;
        g.ldc = k;
        g.bias = nullptr;
        g.mode = cpu::CMode::kAddAfter;
        (pairs ? table.gemm_bf16 : table.gemm_f32)(g, true);
      }
    });
  }
}

void BiasGradient(const KernelContext& ctx, const float* dy, int64_t ld_dy, int64_t m, int64_t n, float* db) {
  HONE_CHECK(m >= 0 && ld_dy >= n) << "BiasGradient: m " << m << ", n " << n << ", ld_dy " << ld_dy;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(CeilDiv(n, 16), cpu::GrainFor(16 * m), [&](int64_t begin, int64_t end) {
    table.column_sums(dy + begin * 16, ld_dy, m, std::min(n, end * 16) - begin * 16, db + begin * 16);
  });
}

}  // namespace hone::kernels
