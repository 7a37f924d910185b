// AttentionBackward: one task for each kv head of a segment and of all segments that follow it.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

// What a task takes, and a sequence's keys, values and their gradients in one piece.
size_t AttentionBackwardScratchFloats(int64_t tokens, int head_dim) {
  return cpu::AttentionBackwardScratch(tokens, head_dim) + static_cast<size_t>(4 * tokens * head_dim);
}

// The backward pass of one kv head over one segment without a prefix and all segments that follow it, one after
// another.
class BackwardOfHead {
 public:
  BackwardOfHead(const cpu::KernelTable& table, const cpu::AttentionBackwardTask& batch, int64_t head)
      : table_(table),
        batch_(batch),
        q_at_(head * batch.group * batch.head_dim),
        kv_at_(head * batch.head_dim),
        head_(head) {}

  // `followers` may be empty.
  void Run(const PackedSegment& first, std::span<const PackedSegment* const> followers) {
    int64_t longest = first.count;
    for (const PackedSegment* f : followers) longest = std::max(longest, first.count + f->count);
    if (longest == 0) return;
    const int64_t dim = batch_.head_dim;
    float* scratch =
        cpu::Scratch(cpu::ScratchUse::kAttention, AttentionBackwardScratchFloats(longest, batch_.head_dim));
    if (first.count > 0) {
      cpu::AttentionBackwardTask t = QueriesOf(first);
      const int64_t at = first.row * batch_.ldkv + kv_at_;
      t.k = batch_.k + at;
      t.v = batch_.v + at;
      t.dk = batch_.dk + at;
      t.dv = batch_.dv + at;
      t.tokens = first.count;
      t.first_query = 0;
      t.key_bias = batch_.key_bias == nullptr ? nullptr : batch_.key_bias + first.row;
      t.scratch = scratch;
      table_.attention_backward(t);
    }
    if (followers.empty()) return;
    // A sequence's keys and values in one piece, and their gradients: [T][E].
    float* k = scratch + cpu::AttentionBackwardScratch(longest, batch_.head_dim);
    float* v = k + longest * dim;
    float* dk = v + longest * dim;
    float* dv = dk + longest * dim;
    CopyIn(batch_.k, first, k);
    CopyIn(batch_.v, first, v);
    for (const PackedSegment* f : followers) {
      if (f->count == 0) continue;
      CopyIn(batch_.k, *f, k + first.count * dim);
      CopyIn(batch_.v, *f, v + first.count * dim);
      cpu::AttentionBackwardTask t = QueriesOf(*f);
      t.k = k;
      t.v = v;
      t.dk = dk;
      t.dv = dv;
      t.ldkv = dim;
      t.tokens = first.count + f->count;
      t.first_query = first.count;
      t.scratch = scratch;
      table_.attention_backward(t);
      for (const auto& [sum, part] : {std::pair{batch_.dk, dk}, std::pair{batch_.dv, dv}}) {
        for (int64_t i = 0; i < first.count; ++i) {
          float* to = sum + (first.row + i) * batch_.ldkv + kv_at_;
          for (int64_t e = 0; e < dim; ++e) to[e] += part[i * dim + e];
        }
        for (int64_t i = 0; i < f->count; ++i) {
          std::memcpy(sum + (f->row + i) * batch_.ldkv + kv_at_, part + (first.count + i) * dim,
                      static_cast<size_t>(dim) * sizeof(float));
        }
      }
    }
  }

 private:
  // The batch's task with the query side of `segment`.
  cpu::AttentionBackwardTask QueriesOf(const PackedSegment& segment) const {
    cpu::AttentionBackwardTask t = batch_;
    t.q = batch_.q + segment.row * t.ldq + q_at_;
    t.dq = batch_.dq + segment.row * t.ldq + q_at_;
    t.o = batch_.o + segment.row * t.ldo + q_at_;
    t.d_o = batch_.d_o + segment.row * t.ldo + q_at_;
    t.log_sum_exp = batch_.log_sum_exp + segment.row * t.ld_lse + head_ * t.group;
    return t;
  }

  void CopyIn(const float* x, const PackedSegment& segment, float* out) const {
    const int64_t dim = batch_.head_dim;
    for (int64_t i = 0; i < segment.count; ++i) {
      std::memcpy(out + i * dim, x + (segment.row + i) * batch_.ldkv + kv_at_,
                  static_cast<size_t>(dim) * sizeof(float));
    }
  }

  const cpu::KernelTable& table_;
  const cpu::AttentionBackwardTask& batch_;  // its pointers are those of the whole batch
  const int64_t q_at_, kv_at_, head_;
};

}  // namespace

void AttentionBackward(const KernelContext& ctx, DType dtype, int heads, int kv_heads, int head_dim, float scale,
                       const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o,
                       const float* log_sum_exp, const float* d_o, std::span<const PackedSegment> segments, float* dq,
                       float* dk, float* dv, const float* key_bias) {
  HONE_CHECK(kv_heads > 0 && heads % kv_heads == 0) << heads << " heads over " << kv_heads << " kv heads";
  std::vector<size_t> firsts;  // segments without a prefix
  std::vector<std::vector<const PackedSegment*>> followers(segments.size());
  for (size_t s = 0; s < segments.size(); ++s) {
    const int32_t prefix = segments[s].prefix;
    if (prefix < 0) {
      firsts.push_back(s);
      continue;
    }
    HONE_CHECK(static_cast<size_t>(prefix) < s && segments[static_cast<size_t>(prefix)].prefix < 0)
        << "segment " << s << " has prefix " << prefix;
    HONE_CHECK(key_bias == nullptr) << "a key bias for segment " << s << ", which has a prefix";
    followers[static_cast<size_t>(prefix)].push_back(&segments[s]);
  }
  cpu::AttentionBackwardTask batch{};
  batch.q = q;
  batch.k = k;
  batch.v = v;
  batch.ldq = ldq;
  batch.ldkv = ldkv;
  batch.o = o;
  batch.d_o = d_o;
  batch.ldo = int64_t{heads} * head_dim;
  batch.log_sum_exp = log_sum_exp;
  batch.ld_lse = heads;
  batch.group = heads / kv_heads;
  batch.head_dim = head_dim;
  batch.bf16 = dtype == DType::kBf16;
  batch.scale = scale;
  batch.dq = dq;
  batch.dk = dk;
  batch.dv = dv;
  batch.key_bias = key_bias;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(static_cast<int64_t>(firsts.size()) * kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t first = firsts[static_cast<size_t>(i / kv_heads)];
      BackwardOfHead(table, batch, i % kv_heads).Run(segments[first], followers[first]);
    }
  });
}

size_t AttentionBackwardScratchBytes(int64_t tokens, int head_dim) {
  return AttentionBackwardScratchFloats(tokens, head_dim) * sizeof(float);
}

namespace cpu {

size_t AttentionBackwardScratch(int64_t tokens, int head_dim) {
  // The larger of what attention_backward.cc and attention_backward_amx.h take.
  constexpr int64_t kQueryBlock = 32, kTileQueries = 64;
  const int64_t padded_dim = RoundUp(head_dim, 16), keys = RoundUp(tokens, 16);
  const int64_t plain = 3 * keys * padded_dim + 2 * kQueryBlock * padded_dim + 2 * kQueryBlock * keys;
  const int64_t wide = RoundUp(head_dim, 32), tile_keys = RoundUp(tokens, 32), steps = Bf16Steps(head_dim);
  const int64_t tiles = 2 * tile_keys * steps + wide * tile_keys / 2 + 2 * kTileQueries * steps + wide * kTileQueries +
                        kTileQueries * tile_keys / 2 + tile_keys * kTileQueries / 2 + 2 * kTileQueries * tile_keys +
                        2 * tile_keys * wide;
  return static_cast<size_t>(std::max(plain, tiles));
}

}  // namespace cpu
}  // namespace hone::kernels
