// Weights laid out for the GEMM tiles: panels of 16 columns of the product (rows of w), each [steps][16]; fp32 steps
// are K, bf16 steps are pairs of K padded with zeros to a multiple of 16.
#include <algorithm>
#include <cstddef>

#include "base/check.h"
#include "kernels/bf16.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

using cpu::CeilDiv;

int64_t StepsOf(int64_t k, DType dtype) { return dtype == DType::kF32 ? k : cpu::Bf16Steps(k); }

}  // namespace

PackedMatrix::PackedMatrix() = default;
PackedMatrix::~PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&&) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&&) noexcept = default;

size_t PackedMatrix::SizeBytes(int64_t n, int64_t k, DType dtype) {
  return static_cast<size_t>(CeilDiv(n, 16) * StepsOf(k, dtype) * 16) * 4;
}

size_t PackedMatrix::size_bytes() const { return storage_.size(); }
const void* PackedMatrix::data() const { return storage_.data(); }

void PackedMatrix::Pack(const KernelContext& ctx, const float* w, int64_t n, int64_t k, int64_t ld, DType dtype) {
  HONE_CHECK(n >= 0 && k >= 0 && ld >= k) << "Pack: n " << n << ", k " << k << ", ld " << ld;
  n_ = n;
  k_ = k;
  dtype_ = dtype;
  const int64_t steps = StepsOf(k, dtype), panels = CeilDiv(n, 16), panel_dwords = steps * 16;
  storage_.Resize(SizeBytes(n_, k_, dtype));
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(panels, cpu::GrainFor(panel_dwords), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      std::byte* out = storage_.data() + p * panel_dwords * 4;
      const int valid = static_cast<int>(std::min<int64_t>(16, n - p * 16));
      if (dtype == DType::kF32) {
        table.pack_rows_f32(w + p * 16 * ld, ld, valid, k, reinterpret_cast<float*>(out));
      } else {
        table.pack_rows_bf16(w + p * 16 * ld, ld, valid, k, steps, reinterpret_cast<uint32_t*>(out));
      }
    }
  });
}

void PackedMatrix::PackTransposed(const KernelContext& ctx, const float* w, int64_t n, int64_t k, int64_t ld,
                                  DType dtype) {
  HONE_CHECK(n >= 0 && k >= 0 && ld >= k) << "PackTransposed: n " << n << ", k " << k << ", ld " << ld;
  n_ = k;
  k_ = n;
  dtype_ = dtype;
  const int64_t steps = StepsOf(n, dtype), panels = CeilDiv(k, 16), panel_dwords = steps * 16;
  storage_.Resize(SizeBytes(n_, k_, dtype));
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const int64_t groups = CeilDiv(panels, cpu::kPackedPanels);
  ctx.pool().ParallelFor(groups, cpu::GrainFor(cpu::kPackedPanels * panel_dwords), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t first = group * cpu::kPackedPanels;
      const int64_t columns = std::min(k - first * 16, cpu::kPackedPanels * 16);
      std::byte* out = storage_.data() + first * panel_dwords * 4;
      if (dtype == DType::kF32) {
        table.pack_columns_f32(w + first * 16, ld, columns, n, false, reinterpret_cast<float*>(out));
      } else {
        table.pack_columns_bf16(w + first * 16, ld, columns, n, steps, reinterpret_cast<uint32_t*>(out));
      }
    }
  });
}

void PackedMatrix::UnpackRow(int64_t i, float* out) const {
  HONE_CHECK(i >= 0 && i < n_) << "row " << i << " of a packed matrix with " << n_ << " rows";
  const int64_t steps = StepsOf(k_, dtype_);
  const std::byte* panel = storage_.data() + i / 16 * steps * 16 * 4;
  if (dtype_ == DType::kF32) {
    const float* column = reinterpret_cast<const float*>(panel) + i % 16;
    for (int64_t k = 0; k < k_; ++k) out[k] = column[k * 16];
  } else {
    const uint16_t* column = reinterpret_cast<const uint16_t*>(panel) + i % 16 * 2;
    for (int64_t k = 0; k < k_; ++k) out[k] = Bf16ToFloat(column[k / 2 * 32 + k % 2]);
  }
}

}  // namespace hone::kernels
