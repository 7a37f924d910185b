// GEMM blocks and operand packing of one instruction path.
#include "kernels/cpu/isa/parts.h"

#if defined(__AMX_BF16__)
#include "kernels/cpu/isa/gemm_amx.h"
#endif

namespace hone::kernels::cpu::HONE_ISA {

void GemmF32(const GemmBlock& g, bool a_by_columns) {
  if (a_by_columns) {
    GemmTiles<F32Product, true>(g);
  } else {
    GemmTiles<F32Product, false>(g);
  }
}

#if defined(__AMX_BF16__)

void GemmBf16(const GemmBlock& g, bool) { GemmOnTiles(g); }

void ConvertOperand(const float* a, int64_t lda, int64_t m, int64_t begin, int64_t end, int64_t k, int64_t steps,
                    void* out) {
  for (int64_t i = begin; i < end; ++i) {
    const float* row = a + i * lda;
    uint32_t* tiles = static_cast<uint32_t*>(out) + i / 16 * 16 * steps + i % 16 * 16;
    for (int64_t s = 0; s < steps; s += 16, tiles += 256) {
      const int64_t left = i < m ? k - 2 * s : 0;
      if (left >= 32) {
        StoreInt(tiles, OperandHalves(Load(row + 2 * s), Load(row + 2 * s + 16)));
      } else {
        const V low = left > 0 ? LoadN(row + 2 * s, static_cast<int>(MinOf(left, 16))) : Zero();
        const V high = left > 16 ? LoadN(row + 2 * s + 16, static_cast<int>(left - 16)) : Zero();
        StoreInt(tiles, OperandHalves(low, high));
      }
    }
  }
}

#else

void GemmBf16(const GemmBlock& g, bool a_by_columns) {
  if constexpr (Bf16Product::kAPerStep == 1) {
    if (a_by_columns) return GemmTiles<Bf16Product, true>(g);
  }
  GemmTiles<Bf16Product, false>(g);
}

namespace {

// `steps` dwords of pairs, or 2 * steps rounded floats.
void ConvertRow(const float* row, int64_t k, int64_t steps, void* out) {
  constexpr bool kPairs = Bf16Product::kAPerStep == 1;
  auto* pairs = static_cast<uint32_t*>(out);
  auto* floats = static_cast<float*>(out);
  for (int64_t s = 0; s < steps; s += kLanes) {
    const int64_t left = k - 2 * s;
    const V low = left >= 16 ? Load(row + 2 * s) : left > 0 ? LoadN(row + 2 * s, static_cast<int>(left)) : Zero();
    const V high = left >= 32  ? Load(row + 2 * s + 16)
                   : left > 16 ? LoadN(row + 2 * s + 16, static_cast<int>(left - 16))
                               : Zero();
    if (kPairs) {
      StoreInt(pairs + s, OperandHalves(low, high));
    } else {
      Store(floats + 2 * s, RoundToBf16(low));
      Store(floats + 2 * s + 16, RoundToBf16(high));
    }
  }
}

}  // namespace

void ConvertOperand(const float* a, int64_t lda, int64_t, int64_t begin, int64_t end, int64_t k, int64_t steps,
                    void* out) {
  const int64_t row_dwords = Bf16Product::kAPerStep * steps;
  for (int64_t i = begin; i < end; ++i) ConvertRow(a + i * lda, k, steps, static_cast<uint32_t*>(out) + i * row_dwords);
}

#endif

void PackRowsF32(const float* w, int64_t ld, int valid, int64_t k, float* out) {
  uint32_t block[16 * 16];
  for (int64_t s = 0; s < k; s += kLanes) {
    const int width = static_cast<int>(MinOf(kLanes, k - s));
    for (int i = 0; i < kLanes; ++i) {
      StoreInt(block + i * 16, AsInt(i >= valid        ? Zero()
                                     : width == kLanes ? Load(w + i * ld + s)
                                                       : LoadN(w + i * ld + s, width)));
    }
    if (width == kLanes) {
      Transpose16(block, 16, reinterpret_cast<uint32_t*>(out + s * kLanes), 16);
    } else {
      uint32_t turned[16 * 16];
      Transpose16(block, 16, turned, 16);
      for (int j = 0; j < width; ++j)
        StoreInt(reinterpret_cast<uint32_t*>(out + (s + j) * kLanes), LoadInt(turned + j * 16));
    }
  }
}

void PackRowsBf16(const float* w, int64_t ld, int valid, int64_t k, int64_t steps, uint32_t* out) {
  uint32_t block[16 * 16];
  for (int64_t s = 0; s < steps; s += kLanes) {
    for (int i = 0; i < kLanes; ++i) {
      const int64_t left = i < valid ? k - 2 * s : 0;
      const float* source = w + i * ld + 2 * s;
      const V low = left >= 16 ? Load(source) : left > 0 ? LoadN(source, static_cast<int>(left)) : Zero();
      const V high = left >= 32  ? Load(source + 16)
                     : left > 16 ? LoadN(source + 16, static_cast<int>(left - 16))
                                 : Zero();
      StoreInt(block + i * 16, OperandHalves(low, high));
    }
    Transpose16(block, 16, out + s * kLanes, 16);
  }
}

// Rows are read along their whole width: a walk down 16 columns would touch a new page with every row.
void PackColumnsF32(const float* w, int64_t ld, int64_t columns, int64_t k, bool round, float* out) {
  for (int64_t s = 0; s < k; ++s) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t left = columns - j;
      const V x = left >= kLanes ? Load(w + s * ld + j) : LoadN(w + s * ld + j, static_cast<int>(left));
      Store(out + j * k + s * kLanes, round ? RoundToBf16(x) : x);
    }
  }
}

void PackColumnsBf16(const float* w, int64_t ld, int64_t columns, int64_t k, int64_t steps, uint32_t* out) {
  auto load = [&](int64_t i, int64_t j) {
    const float* p = w + i * ld + j;
    return i >= k ? Zero() : columns - j >= kLanes ? Load(p) : LoadN(p, static_cast<int>(columns - j));
  };
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      StoreInt(out + j * steps + s * kLanes, OperandPairs(load(2 * s, j), load(2 * s + 1, j)));
    }
  }
}

void TransposeBlocks(uint32_t* blocks, int64_t count) {
  uint32_t turned[16 * 16];
  for (int64_t i = 0; i < count; ++i, blocks += 256) {
    Transpose16(blocks, 16, turned, 16);
    for (int j = 0; j < 16; ++j) StoreInt(blocks + j * 16, LoadInt(turned + j * 16));
  }
}

void ColumnSums(const float* x, int64_t ld, int64_t rows, int64_t n, float* sums) {
  for (int64_t j = 0; j < n; j += kLanes) {
    const int width = static_cast<int>(MinOf(kLanes, n - j));
    V acc = Zero();
    for (int64_t i = 0; i < rows; ++i) acc = Add(acc, LoadN(x + i * ld + j, width));
    StoreN(sums + j, Add(LoadN(sums + j, width), acc), width);
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
