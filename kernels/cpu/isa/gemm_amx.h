// The bf16 GEMM on AMX tiles: C (16 x 16 fp32) += A (16 rows x 32 bf16) B (32 bf16 x 16 columns), one instruction
// family for every M.
//
// A lies tile by tile (Bf16Operand::kTiles), B in the panels all paths use: 16 steps of a panel are one tile. Full
// blocks are 2 x 2 tiles of C with A and B in two tiles each; the last row group of 16 goes alone against four panels,
// so that four accumulators hide the instruction's latency. Rows of zeros pad A: an output's bits depend on its own row
// and column only.
#pragma once

#include "kernels/cpu/isa/gemm_micro.h"

namespace hone::kernels::cpu::HONE_ISA {

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// sums [16][16] into c as the mode says; `rows` and `columns` are valid.
inline void StoreTile(const float* sums, float* c, int64_t ldc, int64_t rows, int64_t columns, const float* bias,
                      CMode mode) {
  const int width = static_cast<int>(columns);
  const bool full = width >= kLanes;
  const V b = bias == nullptr ? Zero() : full ? Load(bias) : LoadN(bias, width);
  for (int64_t i = 0; i < rows; ++i, c += ldc, sums += 16) {
    V sum = Load(sums);
    if (bias != nullptr) sum = Add(sum, b);
    if (mode == CMode::kAddAfter) sum = Add(full ? Load(c) : LoadN(c, width), sum);
    if (full) {
      Store(c, sum);
    } else {
      StoreN(c, sum, width);
    }
  }
}

// Lines of a later B tile: the hardware's prefetcher stops at each page, and panels are page after page.
inline void PrefetchTile(const uint32_t* tile) {
  for (int line = 0; line < 16; ++line) __builtin_prefetch(tile + line * 16, 0, 2);
}
inline constexpr int64_t kPrefetchAhead = 4 * 256;  // dwords, per panel: four tiles

// The lines of C that a block will write, asked for before its sums begin: stores that miss would stall after them.
inline void PrefetchOutput(float* c, int64_t ldc, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += 16) __builtin_prefetch(c + i * ldc + j, 1, 3);
  }
}

// 32 rows by 32 columns (the second panel or row group may be partly outside: rows and columns say what is stored).
// `fetch_next`: ask for the next two panels of B on the way.
inline void TwoByTwo(const GemmBlock& g, int64_t i, int64_t j, bool fetch_next) {
  PrefetchOutput(g.c + i * g.ldc + j, g.ldc, MinOf(32, g.m - i), MinOf(32, g.n - j));
  const auto* a = static_cast<const uint32_t*>(g.a) + i * g.steps;
  const auto* b = static_cast<const uint32_t*>(g.b) + j / 16 * g.b_panel_stride;
  const int64_t a_group = 16 * g.steps, b_panel = g.b_panel_stride;
  float* c = g.c + i * g.ldc + j;
  if (g.mode == CMode::kContinue) {
    _tile_loadd(0, c, g.ldc * 4);
    _tile_loadd(1, c + 16, g.ldc * 4);
    _tile_loadd(2, c + 16 * g.ldc, g.ldc * 4);
    _tile_loadd(3, c + 16 * g.ldc + 16, g.ldc * 4);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = 0; s < g.steps; s += 16) {
    _tile_loadd(6, b + s * 16, 64);
    _tile_loadd(4, a + s * 16, 64);
    _tile_loadd(7, b + b_panel + s * 16, 64);
    _tile_loadd(5, a + a_group + s * 16, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    if (fetch_next) {
      PrefetchTile(b + 2 * b_panel + s * 16);
      PrefetchTile(b + 3 * b_panel + s * 16);
    }
  }
  const int64_t rows = MinOf(32, g.m - i), columns = MinOf(32, g.n - j);
  if (rows == 32 && columns == 32 && g.mode != CMode::kAddAfter && g.bias == nullptr) {
    _tile_stored(0, c, g.ldc * 4);
    _tile_stored(1, c + 16, g.ldc * 4);
    _tile_stored(2, c + 16 * g.ldc, g.ldc * 4);
    _tile_stored(3, c + 16 * g.ldc + 16, g.ldc * 4);
    return;
  }
  alignas(64) float sums[4][256];
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  _tile_stored(2, sums[2], 64);
  _tile_stored(3, sums[3], 64);
  const float* bias = g.bias == nullptr ? nullptr : g.bias + j;
  const float* second_bias = bias == nullptr ? nullptr : bias + 16;
  StoreTile(sums[0], c, g.ldc, MinOf(16, rows), MinOf(16, columns), bias, g.mode);
  StoreTile(sums[1], c + 16, g.ldc, MinOf(16, rows), columns - 16, second_bias, g.mode);
  StoreTile(sums[2], c + 16 * g.ldc, g.ldc, rows - 16, MinOf(16, columns), bias, g.mode);
  StoreTile(sums[3], c + 16 * g.ldc + 16, g.ldc, rows - 16, columns - 16, second_bias, g.mode);
}

// Up to 16 rows by `panels` (1 to 4) panels.
template <int kPanels>
inline void OneByMany(const GemmBlock& g, int64_t i, int64_t j) {
  const auto* a = static_cast<const uint32_t*>(g.a) + i * g.steps;
  const auto* b = static_cast<const uint32_t*>(g.b) + j / 16 * g.b_panel_stride;
  const int64_t panel = g.b_panel_stride;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t s = 0; s < g.steps; s += 16) {
    if constexpr (kPanels == 4) {
      for (int p = 0; p < 4; ++p) PrefetchTile(b + p * panel + s * 16 + kPrefetchAhead);
    }
    _tile_loadd(4, a + s * 16, 64);
    _tile_loadd(5, b + s * 16, 64);
    _tile_dpbf16ps(0, 4, 5);
    if constexpr (kPanels > 1) {
      _tile_loadd(6, b + panel + s * 16, 64);
      _tile_dpbf16ps(1, 4, 6);
    }
    if constexpr (kPanels > 2) {
      _tile_loadd(7, b + 2 * panel + s * 16, 64);
      _tile_dpbf16ps(2, 4, 7);
    }
    if constexpr (kPanels > 3) {
      _tile_loadd(5, b + 3 * panel + s * 16, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  alignas(64) float sums[4][256];
  _tile_stored(0, sums[0], 64);
  if constexpr (kPanels > 1) _tile_stored(1, sums[1], 64);
  if constexpr (kPanels > 2) _tile_stored(2, sums[2], 64);
  if constexpr (kPanels > 3) _tile_stored(3, sums[3], 64);
  for (int p = 0; p < kPanels; ++p) {
    StoreTile(sums[p], g.c + i * g.ldc + j + p * 16, g.ldc, MinOf(16, g.m - i), MinOf(16, g.n - j - p * 16),
              g.bias == nullptr ? nullptr : g.bias + j + p * 16, g.mode);
  }
}

// CMode::kContinue: m and n must be multiples of 32.
inline void GemmOnTiles(const GemmBlock& g) {
  // The compiler does not see that tile loads read memory.
  asm volatile("" ::: "memory");
  const TileConfig config;
  _tile_loadconfig(&config);
  const int64_t paired_rows = (g.m + 15) / 16 / 2 * 32;  // row groups that go two at a time
  for (int64_t j = 0; j < g.n && paired_rows > 0; j += 32) {
    for (int64_t i = 0; i < paired_rows; i += 32) {
      if (g.n - j > 16) {
        TwoByTwo(g, i, j, i + 32 == paired_rows && g.n - j > 64);
      } else {
        OneByMany<1>(g, i, j);
        OneByMany<1>(g, i + 16, j);
      }
    }
  }
  if (paired_rows < g.m) {
    int64_t j = 0;
    for (; g.n - j > 48; j += 64) OneByMany<4>(g, paired_rows, j);
    if (g.n - j > 32) {
      OneByMany<3>(g, paired_rows, j);
    } else if (g.n - j > 16) {
      OneByMany<2>(g, paired_rows, j);
    } else if (g.n - j > 0) {
      OneByMany<1>(g, paired_rows, j);
    }
  }
  _tile_release();
}

}  // namespace hone::kernels::cpu::HONE_ISA
