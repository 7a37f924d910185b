// KvWrite and Attention: page layout, and the split of queries into tiles.
//
// A page holds, per kv head, its keys then its values. Keys lie in blocks of 16 tokens as GEMM panels: fp32 [E][16], or
// bf16 [steps][16][2] with steps = E / 2 padded by zeros to a multiple of 16. Values: [token][E padded to 16].
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/bf16.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

using cpu::CeilDiv;
using cpu::RoundUp;

static_assert(kBlockTokens == cpu::kAttentionBlock && kSegmentTokens == cpu::kAttentionSegment);

struct PageGeometry {
  explicit PageGeometry(const KvLayout& layout)
      : element_bytes(layout.dtype == DType::kF32 ? 4 : 2),
        steps(layout.dtype == DType::kF32 ? layout.head_dim : cpu::Bf16Steps(layout.head_dim)),
        padded_dim(RoundUp(layout.head_dim, 16)),
        key_bytes(static_cast<size_t>(layout.page_tokens) * steps * 4),
        head_bytes(key_bytes + static_cast<size_t>(layout.page_tokens) * padded_dim * element_bytes) {}
  int64_t element_bytes;
  int64_t steps;       // dwords of one token's key
  int64_t padded_dim;  // elements of one token's value
  size_t key_bytes;    // of one head in a page
  size_t head_bytes;   // keys and values
};

void CheckLayout(const KvLayout& layout) {
  HONE_CHECK(layout.page_tokens > 0 && layout.page_tokens % kBlockTokens == 0 && layout.kv_heads > 0 &&
             layout.head_dim > 0 && layout.head_dim % 2 == 0)
      << "KvLayout: page_tokens " << layout.page_tokens << ", kv_heads " << layout.kv_heads << ", head_dim "
      << layout.head_dim;
}

// One token's key into its lane of the block.
void WriteKey(const float* k, int64_t head_dim, int64_t steps, DType dtype, int64_t slot, std::byte* keys) {
  std::byte* block = keys + slot / kBlockTokens * steps * kBlockTokens * 4;
  const int64_t lane = slot % kBlockTokens;
  if (dtype == DType::kF32) {
    float* out = reinterpret_cast<float*>(block) + lane;
    for (int64_t e = 0; e < head_dim; ++e) out[e * kBlockTokens] = k[e];
    return;
  }
  uint32_t* out = reinterpret_cast<uint32_t*>(block) + lane;
  for (int64_t s = 0; s < steps; ++s) {
    const bool inside = 2 * s < head_dim;
    out[s * kBlockTokens] = inside ? FloatToBf16(k[2 * s]) | static_cast<uint32_t>(FloatToBf16(k[2 * s + 1])) << 16 : 0;
  }
}

void WriteSequence(const cpu::KernelTable& table, const KvLayout& layout, const PageGeometry& page, const float* k,
                   const float* v, int64_t ld, const AttentionSequence& sequence, int64_t begin, int64_t end,
                   std::byte* base) {
  for (int64_t i = begin; i < end;) {
    const int64_t token = sequence.position + i, slot = token % layout.page_tokens;
    std::byte* start = base + static_cast<size_t>(sequence.pages[token / layout.page_tokens]) * layout.page_bytes();
    // A whole block at once where there is one.
    const int64_t run = slot % kBlockTokens == 0 && end - i >= kBlockTokens ? kBlockTokens : 1;
    for (int h = 0; h < layout.kv_heads; ++h) {
      std::byte* keys = start + h * page.head_bytes;
      const int64_t offset = (sequence.query_row + i) * ld + int64_t{h} * layout.head_dim;
      if (run == 1) {
        WriteKey(k + offset, layout.head_dim, page.steps, layout.dtype, slot, keys);
      } else if (layout.dtype == DType::kF32) {
        table.pack_rows_f32(k + offset, ld, kBlockTokens, layout.head_dim,
                            reinterpret_cast<float*>(keys) + slot * page.steps);
      } else {
        table.pack_rows_bf16(k + offset, ld, kBlockTokens, layout.head_dim, page.steps,
                             reinterpret_cast<uint32_t*>(keys) + slot * page.steps);
      }
      for (int64_t j = 0; j < run; ++j) {
        std::byte* value = keys + page.key_bytes + (slot + j) * page.padded_dim * page.element_bytes;
        if (layout.dtype == DType::kF32) {
          std::memcpy(value, v + offset + j * ld, static_cast<size_t>(layout.head_dim) * 4);
        } else {
          table.round_to_bf16(v + offset + j * ld, layout.head_dim, reinterpret_cast<uint16_t*>(value));
        }
      }
    }
    i += run;
  }
}

// Tiles of all sequences, numbered through: which sequence, which of its tiles.
class TileList {
 public:
  TileList(std::span<const AttentionSequence> sequences, int64_t tile_tokens) : tile_tokens_(tile_tokens) {
    first_.reserve(sequences.size() + 1);
    first_.push_back(0);
    for (const AttentionSequence& s : sequences) first_.push_back(first_.back() + CeilDiv(s.query_count, tile_tokens));
  }
  int64_t count() const { return first_.back(); }
  // The sequence of a tile and its first token.
  std::pair<size_t, int64_t> Find(int64_t tile) const {
    const size_t s = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), tile) - first_.begin()) - 1;
    return {s, (tile - first_[s]) * tile_tokens_};
  }

 private:
  const int64_t tile_tokens_;
  std::vector<int64_t> first_;
};

}  // namespace

size_t KvLayout::page_bytes() const { return PageGeometry(*this).head_bytes * static_cast<size_t>(kv_heads); }

void KvWrite(const KernelContext& ctx, const KvLayout& layout, const float* k, const float* v, int64_t ld,
             std::span<const AttentionSequence> sequences, std::byte* base) {
  CheckLayout(layout);
  const PageGeometry page(layout);
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  constexpr int64_t kTokens = 64;  // per task; tasks of one sequence meet at a block's border only by luck, which is
                                   // fine: lanes and rows of different tokens never share a memory location
  const TileList tiles(sequences, kTokens);
  ctx.pool().ParallelFor(tiles.count(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto [s, first] = tiles.Find(t);
      WriteSequence(table, layout, page, k, v, ld, sequences[s], first,
                    std::min<int64_t>(first + kTokens, sequences[s].query_count), base);
    }
  });
}

void Attention(const KernelContext& ctx, const KvLayout& layout, int heads, float scale, const float* q, int64_t ldq,
               std::span<const AttentionSequence> sequences, const std::byte* base, float* o, float* log_sum_exp,
               const float* key_bias) {
  CheckLayout(layout);
  HONE_CHECK(heads > 0 && heads % layout.kv_heads == 0) << heads << " heads over " << layout.kv_heads << " kv heads";
  const PageGeometry page(layout);
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const int group = heads / layout.kv_heads;
  const int64_t tile_tokens = std::max(1, cpu::kQueryTileRows / group);
  const TileList tiles(sequences, tile_tokens);
  int64_t products = 0;  // multiply-adds, for the grain
  for (const AttentionSequence& s : sequences) {
    HONE_CHECK(key_bias == nullptr || s.position == 0) << "a key bias for a sequence from position " << s.position;
    products += int64_t{2} * s.query_count * heads * layout.head_dim * (s.position + s.query_count / 2 + 1);
  }
  const int64_t tasks = tiles.count() * layout.kv_heads;
  if (tasks == 0) return;
  const int64_t grain = std::max<int64_t>(1, 200 * 1000 / std::max<int64_t>(1, products / tasks));
  const size_t scratch = cpu::AttentionScratch(static_cast<int>(tile_tokens) * group, layout.head_dim);
  ctx.pool().ParallelFor(tasks, grain, [&](int64_t begin, int64_t end) {
    cpu::AttentionTile tile;
    tile.ldq = ldq;
    tile.group = group;
    tile.head_dim = layout.head_dim;
    tile.page_tokens = layout.page_tokens;
    tile.base = reinterpret_cast<const char*>(base);
    tile.page_bytes = layout.page_bytes();
    tile.bf16 = layout.dtype == DType::kBf16;
    tile.scale = scale;
    tile.ldo = int64_t{heads} * layout.head_dim;
    tile.ld_lse = heads;
    tile.scratch = cpu::Scratch(cpu::ScratchUse::kAttention, scratch);
    for (int64_t task = begin; task < end; ++task) {
      const auto [s, first] = tiles.Find(task / layout.kv_heads);
      const AttentionSequence& sequence = sequences[s];
      const int64_t kv_head = task % layout.kv_heads, row = sequence.query_row + first;
      tile.q = q + row * ldq + kv_head * group * layout.head_dim;
      tile.tokens = static_cast<int>(std::min<int64_t>(tile_tokens, sequence.query_count - first));
      tile.position = sequence.position + static_cast<int>(first);
      tile.pages = sequence.pages;
      tile.key_bias = key_bias == nullptr ? nullptr : key_bias + sequence.query_row;
      tile.k_offset = kv_head * page.head_bytes;
      tile.v_offset = tile.k_offset + page.key_bytes;
      tile.o = o + row * tile.ldo + kv_head * group * layout.head_dim;
      tile.log_sum_exp = log_sum_exp == nullptr ? nullptr : log_sum_exp + row * heads + kv_head * group;
      table.attention_tile(tile);
    }
  });
}

namespace cpu {

size_t AttentionScratch(int rows, int head_dim) {
  const int64_t padded_dim = RoundUp(head_dim, 16);
  const int64_t query = std::max(2 * Bf16Steps(head_dim), RoundUp(head_dim, 16));
  return static_cast<size_t>(RoundUp(rows, 16) * (query + kAttentionSegment + 2 * padded_dim + 4));
}

}  // namespace cpu
}  // namespace hone::kernels
