// The register tiles every matrix product here is made of: R rows by P panels, K ascending; one accumulator per output,
// or in fp32 one per block of K.
#pragma once

#include "kernels/cpu/isa/table.h"
#include "kernels/cpu/isa/vec.h"

#if defined(__clang__)
#define HONE_UNROLL _Pragma("unroll")
#else
#define HONE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace hone::kernels::cpu::HONE_ISA {

// The largest tile, from the registers: accumulators + one panel row + one broadcast.
#if defined(__AVX512F__)
inline constexpr int kTileRows = 8, kTilePanels = 3;  // 24 + 3 + 1 of 32
#elif defined(__AVX2__)
inline constexpr int kTileRows = 6, kTilePanels = 1;  // 12 + 2 + 1 of 16
#else
inline constexpr int kTileRows = 2, kTilePanels = 1;  // 8 + 4 + 1 of 16
#endif

// How one step multiplies: element types and acc += a b, in kParts parts, the first for all of a tile before the next.
// kBlocks: long sums go in blocks.
struct F32Product {
  using A = float;
  using B = float;
  static constexpr int kAPerStep = 1;
  static constexpr int kParts = 1;
  static constexpr bool kBlocks = true;
  template <int kPart>
  static V LoadB(const float* b) {
    return Load(b);
  }
  template <int kPart>
  static void MultiplyAdd(V& acc, const float* a, V b) {
    acc = Fma(Set1(*a), b, acc);
  }
};

// fp32 A times bf16 B stored as single values (attention's V).
struct F32ByBf16Product {
  using A = float;
  using B = uint16_t;
  static constexpr int kAPerStep = 1;
  static constexpr int kParts = 1;
  static constexpr bool kBlocks = false;
  template <int kPart>
  static V LoadB(const uint16_t* b) {
    return LoadBf16(b);
  }
  template <int kPart>
  static void MultiplyAdd(V& acc, const float* a, V b) {
    acc = Fma(Set1(*a), b, acc);
  }
};

#if defined(__AVX512BF16__)
// Pairs of bf16: the dot-product instruction (its order and rounding within a pair are the processor's, the same for
// every row).
struct Bf16Product {
  using A = uint32_t;
  using B = uint32_t;
  static constexpr int kAPerStep = 1;
  static constexpr int kParts = 1;
  static constexpr bool kBlocks = false;
  template <int kPart>
  static I LoadB(const uint32_t* b) {
    return LoadInt(b);
  }
  template <int kPart>
  static void MultiplyAdd(V& acc, const uint32_t* a, I b) {
    acc.v = _mm512_dpbf16_ps(acc.v, (__m512bh)_mm512_set1_epi32(static_cast<int>(*a)), (__m512bh)b.v);
  }
};
#else
// Without the instruction, and where AMX does the large products (on its processors the vector instruction is slower
// than two fp32 multiply-adds, and attention uses these): the pair's even value first, then the odd one, each by a
// multiply-add; A is already expanded. In two parts, for a tile of AVX2 has no registers for both values at once.
struct Bf16Product {
  using A = float;
  using B = uint32_t;
  static constexpr int kAPerStep = 2;
  static constexpr int kParts = 2;
  static constexpr bool kBlocks = false;
  template <int kPart>
  static V LoadB(const uint32_t* b) {
    return kPart == 0 ? EvenOfPairs(LoadInt(b)) : OddOfPairs(LoadInt(b));
  }
  template <int kPart>
  static void MultiplyAdd(V& acc, const float* a, V b) {
    acc = Fma(Set1(a[kPart]), b, acc);
  }
};
#endif

// Steps that one fp32 accumulator takes before it is added to the sum of the blocks before it: rounding grows with the
// length of a run of additions, and a block costs a walk over the tile's accumulators: with 32 steps up to a tenth of
// the time, which only long sums through many layers are worth. Part of the numerics contract.
inline int64_t BlockSteps(bool by_columns, int64_t steps) { return by_columns || steps <= 256 ? 128 : 32; }

// One part of one step of a tile.
template <class Product, bool kByColumns, int R, int P, int kPart>
inline void TileStep(V (&acc)[R][P], const typename Product::A* a, int64_t a_stride, const typename Product::B* b,
                     int64_t b_panel_stride) {
  decltype(Product::template LoadB<kPart>(b)) row[P];
  HONE_UNROLL
  for (int p = 0; p < P; ++p) row[p] = Product::template LoadB<kPart>(b + p * b_panel_stride);
  HONE_UNROLL
  for (int r = 0; r < R; ++r) {
    const typename Product::A* element = kByColumns ? a + r : a + r * a_stride;
    HONE_UNROLL
    for (int p = 0; p < P; ++p) Product::template MultiplyAdd<kPart>(acc[r][p], element, row[p]);
  }
}

// One tile. kByColumns: a(i, k) = a[i + k * a_stride] (a tile lies inside one panel of A).
template <class Product, bool kByColumns, int R, int P>
inline void Tile(const typename Product::A* a, int64_t a_stride, const typename Product::B* b, int64_t b_panel_stride,
                 int64_t b_step_stride, int64_t steps, float* c, int64_t ldc, const float* bias, int last_columns,
                 CMode mode) {
  V acc[R][P];
  if (mode == CMode::kContinue) {
    HONE_UNROLL
    for (int r = 0; r < R; ++r) {
      HONE_UNROLL
      for (int p = 0; p < P; ++p) {
        acc[r][p] = p == P - 1 ? LoadN(c + r * ldc + p * kLanes, last_columns) : Load(c + r * ldc + p * kLanes);
      }
    }
  } else {
    HONE_UNROLL
    for (int r = 0; r < R; ++r) {
      HONE_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = Zero();
    }
  }
  V total[R][P];
  const int64_t block = Product::kBlocks && mode != CMode::kContinue ? BlockSteps(kByColumns, steps) : steps;
  for (int64_t k = 0, end = MinOf(block, steps);; end = MinOf(end + block, steps)) {
    for (; k < end; ++k) {
      TileStep<Product, kByColumns, R, P, 0>(acc, a, a_stride, b, b_panel_stride);
      if constexpr (Product::kParts == 2) TileStep<Product, kByColumns, R, P, 1>(acc, a, a_stride, b, b_panel_stride);
      a += kByColumns ? a_stride : Product::kAPerStep;
      b += b_step_stride;
    }
    if (!Product::kBlocks || steps <= block) break;
    HONE_UNROLL
    for (int r = 0; r < R; ++r) {
      HONE_UNROLL
      for (int p = 0; p < P; ++p) {
        if (end > block) acc[r][p] = Add(total[r][p], acc[r][p]);
        if (end == steps) continue;
        total[r][p] = acc[r][p];
        acc[r][p] = Zero();
      }
    }
    if (end == steps) break;
  }
  HONE_UNROLL
  for (int r = 0; r < R; ++r) {
    HONE_UNROLL
    for (int p = 0; p < P; ++p) {
      float* out = c + r * ldc + p * kLanes;
      V sum = acc[r][p];
      if (p == P - 1 && last_columns < kLanes) {
        if (bias != nullptr) sum = Add(sum, LoadN(bias + p * kLanes, last_columns));
        if (mode == CMode::kAddAfter) sum = Add(LoadN(out, last_columns), sum);
        StoreN(out, sum, last_columns);
      } else {
        if (bias != nullptr) sum = Add(sum, Load(bias + p * kLanes));
        if (mode == CMode::kAddAfter) sum = Add(Load(out), sum);
        Store(out, sum);
      }
    }
  }
}

template <class Product, bool kByColumns, int P, int R>
inline void TileOfRows(int64_t rows, const typename Product::A* a, const GemmBlock& g, const typename Product::B* b,
                       float* c, const float* bias, int last_columns) {
  if constexpr (R > 0) {
    if (rows == R) {
      Tile<Product, kByColumns, R, P>(a, g.a_stride, b, g.b_panel_stride, g.b_step_stride, g.steps, c, g.ldc, bias,
                                      last_columns, g.mode);
    } else {
      TileOfRows<Product, kByColumns, P, R - 1>(rows, a, g, b, c, bias, last_columns);
    }
  }
}

// All rows of one group of P panels: the panels stay in L1/L2 while the rows go by.
template <class Product, bool kByColumns, int P>
inline void PanelGroup(const GemmBlock& g, int64_t column) {
  const auto* a = static_cast<const typename Product::A*>(g.a);
  const auto* b = static_cast<const typename Product::B*>(g.b) + column / kLanes * g.b_panel_stride;
  const float* bias = g.bias == nullptr ? nullptr : g.bias + column;
  const int last_columns = static_cast<int>(MinOf(kLanes, g.n - column - (P - 1) * kLanes));
  for (int64_t i = 0, rows; i < g.m; i += rows) {
    rows = MinOf(kTileRows, g.m - i);
    if (kByColumns) rows = MinOf(rows, kPanelColumns - i % kPanelColumns);  // a tile stays inside one panel of A
    TileOfRows<Product, kByColumns, P, kTileRows>(
        rows, kByColumns ? a + i / kPanelColumns * g.a_panel_stride + i % kPanelColumns : a + i * g.a_stride, g, b,
        g.c + i * g.ldc + column, bias, last_columns);
  }
}

template <class Product, bool kByColumns>
inline void GemmTiles(const GemmBlock& g) {
  int64_t column = 0;
  for (; column + (kTilePanels - 1) * kLanes < g.n; column += kTilePanels * kLanes) {
    PanelGroup<Product, kByColumns, kTilePanels>(g, column);
  }
  if constexpr (kTilePanels > 1) {
    for (; column + kLanes < g.n; column += 2 * kLanes) PanelGroup<Product, kByColumns, 2>(g, column);
    for (; column < g.n; column += kLanes) PanelGroup<Product, kByColumns, 1>(g, column);
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
