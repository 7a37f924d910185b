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

// The largest tile, from the registers; where there are few, tiles of few rows take more panels, for one accumulator
// has to wait for itself: with less than eight of them at work the multipliers stand idle.
#if defined(__AVX512F__)
inline constexpr int kTileRows = 8, kTilePanels = 3, kWidePanels = 3;  // 24 + 3 + 1 of 32
inline constexpr int TileRows(int) { return kTileRows; }
#elif defined(__AVX2__)
inline constexpr int kTileRows = 6, kTilePanels = 1, kWidePanels = 6;  // 12 + 2 + 1 of 16
inline constexpr int TileRows(int panels) { return kTileRows / panels; }
#else
inline constexpr int kTileRows = 2, kTilePanels = 1, kWidePanels = 1;  // 8 + 4 + 1 of 16
inline constexpr int TileRows(int) { return kTileRows; }
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
  HONE_UNROLL
  for (int p = 0; p < P; ++p) {
    const auto row = Product::template LoadB<kPart>(b + p * b_panel_stride);
    HONE_UNROLL
    for (int r = 0; r < R; ++r) {
      Product::template MultiplyAdd<kPart>(acc[r][p], kByColumns ? a + r : a + r * a_stride, row);
    }
  }
}

// Weights that few rows multiply come from memory, and the processor's own prefetching stops at each page of 4 KiB.
inline constexpr int kFewRows = 4, kPrefetchBytes = 2048;

// acc += `steps` steps.
template <class Product, bool kByColumns, int R, int P>
inline void TileSteps(V (&acc)[R][P], const typename Product::A* a, int64_t a_stride, const typename Product::B* b,
                      int64_t b_panel_stride, int64_t b_step_stride, int64_t steps) {
  for (int64_t k = 0; k < steps; ++k) {
    if constexpr (!kByColumns && R <= kFewRows) {
      HONE_UNROLL
      for (int p = 0; p < P; ++p) {
        _mm_prefetch(reinterpret_cast<const char*>(b + p * b_panel_stride) + kPrefetchBytes, _MM_HINT_T0);
      }
    }
    TileStep<Product, kByColumns, R, P, 0>(acc, a, a_stride, b, b_panel_stride);
    if constexpr (Product::kParts == 2) {
      asm volatile("" ::: "memory");  // or the compiler mixes the parts and runs out of registers
      TileStep<Product, kByColumns, R, P, 1>(acc, a, a_stride, b, b_panel_stride);
    }
    a += kByColumns ? a_stride : Product::kAPerStep;
    b += b_step_stride;
  }
}

// The steps [begin, end) of one tile: all of them, or one block, whose sum is added to `total` [R][P][16]; the last
// block's goes to c. kByColumns: a(i, k) = a[i + k * a_stride] (a tile lies inside one panel of A).
template <class Product, bool kByColumns, int R, int P>
inline void Tile(const typename Product::A* a, const typename Product::B* b, const GemmBlock& g, int64_t begin,
                 int64_t end, float* total, float* c, const float* bias, int last_columns) {
  V acc[R][P];
  HONE_UNROLL
  for (int r = 0; r < R; ++r) {
    HONE_UNROLL
    for (int p = 0; p < P; ++p) {
      const float* old = c + r * g.ldc + p * kLanes;
      acc[r][p] = g.mode != CMode::kContinue ? Zero() : p == P - 1 ? LoadN(old, last_columns) : Load(old);
    }
  }
  TileSteps<Product, kByColumns, R, P>(acc, a + begin * (kByColumns ? g.a_stride : Product::kAPerStep), g.a_stride,
                                       b + begin * g.b_step_stride, g.b_panel_stride, g.b_step_stride, end - begin);
  if (Product::kBlocks && begin > 0) {
    HONE_UNROLL
    for (int r = 0; r < R; ++r) {
      HONE_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = Add(Load(total + (r * P + p) * kLanes), acc[r][p]);
    }
  }
  if (Product::kBlocks && end < g.steps) {
    HONE_UNROLL
    for (int r = 0; r < R; ++r) {
      HONE_UNROLL
      for (int p = 0; p < P; ++p) Store(total + (r * P + p) * kLanes, acc[r][p]);
    }
    return;
  }
  HONE_UNROLL
  for (int r = 0; r < R; ++r) {
    HONE_UNROLL
    for (int p = 0; p < P; ++p) {
      float* out = c + r * g.ldc + p * kLanes;
      V sum = acc[r][p];
      if (p == P - 1 && last_columns < kLanes) {
        if (bias != nullptr) sum = Add(sum, LoadN(bias + p * kLanes, last_columns));
        if (g.mode == CMode::kAddAfter) sum = Add(LoadN(out, last_columns), sum);
        StoreN(out, sum, last_columns);
      } else {
        if (bias != nullptr) sum = Add(sum, Load(bias + p * kLanes));
        if (g.mode == CMode::kAddAfter) sum = Add(Load(out), sum);
        Store(out, sum);
      }
    }
  }
}

template <class Product, bool kByColumns, int P, int R>
inline void TileOfRows(int64_t rows, const typename Product::A* a, const typename Product::B* b, const GemmBlock& g,
                       int64_t begin, int64_t end, float* total, float* c, const float* bias, int last_columns) {
  if constexpr (R > 0) {
    if (rows == R) {
      Tile<Product, kByColumns, R, P>(a, b, g, begin, end, total, c, bias, last_columns);
    } else {
      TileOfRows<Product, kByColumns, P, R - 1>(rows, a, b, g, begin, end, total, c, bias, last_columns);
    }
  }
}

// Rows of A that go through the blocks of K together, at most: their sums stay in L1.
template <int P>
inline constexpr int64_t kGroupRows = 96 / P;

// Rows [0, rows) of one group of P panels, block by block, so that a block of both operands stays in L1 while all tiles
// use it.
template <class Product, bool kByColumns, int P>
inline void RowGroup(int64_t rows, const typename Product::A* a, const typename Product::B* b, const GemmBlock& g,
                     float* c, const float* bias, int last_columns) {
  float total[Product::kBlocks ? kGroupRows<P> * P * kLanes : 1];
  const int64_t block = Product::kBlocks && g.mode != CMode::kContinue ? BlockSteps(kByColumns, g.steps) : g.steps;
  const int64_t tiles = (rows + TileRows(P) - 1) / TileRows(P);
  for (int64_t begin = 0, end; begin == 0 || begin < g.steps; begin = end) {
    end = MinOf(begin + block, g.steps);
    // Tiles of equal height: a low last one would wait for its own few accumulators.
    for (int64_t tile = 0, i = 0, height; tile < tiles; ++tile, i += height) {
      height = (rows - i + tiles - tile - 1) / (tiles - tile);
      TileOfRows<Product, kByColumns, P, TileRows(P)>(height, kByColumns ? a + i : a + i * g.a_stride, b, g, begin, end,
                                                      total + (Product::kBlocks ? i * P * kLanes : 0), c + i * g.ldc,
                                                      bias, last_columns);
    }
    if (end == begin) break;  // no steps at all
  }
}

// All rows of one group of P panels: the panels stay in L1/L2 while the rows go by.
template <class Product, bool kByColumns, int P>
inline void PanelGroup(const GemmBlock& g, int64_t column) {
  const auto* a = static_cast<const typename Product::A*>(g.a);
  const auto* b = static_cast<const typename Product::B*>(g.b) + column / kLanes * g.b_panel_stride;
  const float* bias = g.bias == nullptr ? nullptr : g.bias + column;
  const int last_columns = static_cast<int>(MinOf(kLanes, g.n - column - (P - 1) * kLanes));
  const int64_t most = kByColumns ? kPanelColumns : Product::kBlocks ? kGroupRows<P> : MaxOf(g.m, 1);
  const int64_t groups = (g.m + most - 1) / most;
  for (int64_t group = 0, i = 0, rows; group < groups; ++group, i += rows) {
    rows = kByColumns ? MinOf(most, g.m - i) : (g.m - i + groups - group - 1) / (groups - group);
    RowGroup<Product, kByColumns, P>(rows, kByColumns ? a + i / kPanelColumns * g.a_panel_stride : a + i * g.a_stride,
                                     b, g, g.c + i * g.ldc + column, bias, last_columns);
  }
}

template <class Product, bool kByColumns, int P>
inline void PanelGroups(const GemmBlock& g, int64_t column) {
  for (; column + (P - 1) * kLanes < g.n; column += P * kLanes) PanelGroup<Product, kByColumns, P>(g, column);
  if constexpr (P > 1) PanelGroups<Product, kByColumns, P == 3 ? 2 : P / 2>(g, column);  // what is left
}

template <class Product, bool kByColumns>
inline void GemmTiles(const GemmBlock& g) {
  if constexpr (kWidePanels > kTilePanels && !kByColumns) {
    if (g.m <= TileRows(kWidePanels)) return PanelGroups<Product, kByColumns, kWidePanels>(g, 0);
    if (g.m <= TileRows(kWidePanels / 2)) return PanelGroups<Product, kByColumns, kWidePanels / 2>(g, 0);
  }
  PanelGroups<Product, kByColumns, kTilePanels>(g, 0);
}

}  // namespace hone::kernels::cpu::HONE_ISA
