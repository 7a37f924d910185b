// One query tile of causal attention over paged keys and values.
//
// Per KV segment of 256 tokens: scores of all rows (a GEMM with key blocks as panels), then per row max, exponentials
// and their sum over its own visible tokens, then values (a GEMM, tokens ascending). A row never sees more than its own
// tokens: scores of later ones are dropped lane by lane, values of later ones are not touched. So its bits are those it
// has alone.
#include "kernels/cpu/isa/parts.h"
#include "kernels/math.h"

#if defined(__AMX_BF16__)
#include "kernels/cpu/isa/gemm_amx.h"
#endif

namespace hone::kernels::cpu::HONE_ISA {
namespace {

struct Scratch {
  void* q;               // [rows][steps] operand of the score GEMM
  float* scores;         // [rows][256], then probabilities (not normalised)
  float* part;           // [rows][E16] of the current segment
  float* sum;            // [rows][E16] over segments so far
  float* max;            // [rows]
  float* total;          // [rows]
  float* segment_max;    // [rows] of the current segment
  float* segment_total;  // [rows]
};

inline int64_t RoundUp(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

struct Geometry {
  int64_t rows, steps, padded_dim;
  const char* Page(const AttentionTile& t, int64_t token) const {
    return t.base + static_cast<size_t>(t.pages[token / t.page_tokens]) * t.page_bytes;
  }
};

// Queries as the operand of the score product, rounded where the cache is bf16. `part` is still free: rows gather
// there.
void ConvertQueries(const AttentionTile& t, const Geometry& g, const Scratch& s) {
  const int64_t token_floats = static_cast<int64_t>(t.group) * t.head_dim;
  float* rows = t.bf16 ? s.part : static_cast<float*>(s.q);
  for (int i = 0; i < t.tokens; ++i) {
    for (int64_t e = 0; e < token_floats; e += kLanes) {
      const int width = static_cast<int>(MinOf(kLanes, token_floats - e));
      StoreN(rows + i * token_floats + e, LoadN(t.q + i * t.ldq + e, width), width);
    }
  }
  if (!t.bf16) return;
#if defined(__AMX_BF16__)
  ConvertOperand(rows, t.head_dim, g.rows, 0, RoundUp(g.rows, 16), t.head_dim, g.steps, s.q);
#else
  ConvertOperand(rows, t.head_dim, g.rows, 0, g.rows, t.head_dim, g.steps, s.q);
#endif
}

void Scores(const AttentionTile& t, const Geometry& g, const Scratch& s, int64_t begin, int64_t end) {
  for (int64_t token = begin; token < end;) {
    const int64_t slot = token % t.page_tokens;
    const int64_t run = MinOf(RoundUp(end - token, kAttentionBlock), t.page_tokens - slot);
    const char* keys = g.Page(t, token) + t.k_offset + static_cast<size_t>(slot * g.steps) * 4;
    const GemmBlock block{s.q,
                          t.bf16 && Bf16Product::kAPerStep == 2 ? 2 * g.steps : g.steps,
                          keys,
                          g.steps * kLanes,
                          kLanes,
                          g.rows,
                          run,
                          g.steps,
                          s.scores + (token - begin),
                          kAttentionSegment,
                          nullptr,
                          CMode::kStore};
    if (t.bf16) {
#if defined(__AMX_BF16__)
      GemmOnTiles(block);
#else
      GemmTiles<Bf16Product, false>(block);
#endif
    } else {
      GemmTiles<F32Product, false>(block);
    }
    token += run;
  }
}

// part[r] += sum over tokens [from, to) of the segment at `begin`, for rows [row, row + count).
void Values(const AttentionTile& t, const Geometry& g, const Scratch& s, int64_t begin, int64_t from, int64_t to,
            int64_t row, int64_t count) {
  for (int64_t j = from; j < to;) {
    const int64_t slot = (begin + j) % t.page_tokens;
    const int64_t run = MinOf(to - j, t.page_tokens - slot);
    const size_t element = t.bf16 ? 2 : 4;
    const char* values = g.Page(t, begin + j) + t.v_offset + static_cast<size_t>(slot * g.padded_dim) * element;
    const GemmBlock block{s.scores + row * kAttentionSegment + j,
                          kAttentionSegment,
                          values,
                          kLanes,
                          g.padded_dim,
                          count,
                          g.padded_dim,
                          run,
                          s.part + row * g.padded_dim,
                          g.padded_dim,
                          nullptr,
                          CMode::kContinue};
    if (t.bf16) {
      GemmTiles<F32ByBf16Product, false>(block);
    } else {
      GemmTiles<F32Product, false>(block);
    }
    j += run;
  }
}

// scores[j] += bias[j] over the row's `visible` tokens, but for the row's own one where `own` is its place among them.
inline void MaskKeys(const float* bias, int visible, int own, float* scores) {
  for (int j = 0; j < visible; ++j) {
    if (j != own) scores[j] += bias[j];
  }
}

// Scores of one row become e^(scale s - max) over its `visible` tokens; returns max and sum. Where all are masked: -inf
// and 0.
inline void RowSoftmax(float* scores, int visible, float scale, float* max, float* sum) {
  const float lowest = -__builtin_inff();
  V high = Set1(lowest);
  for (int j = 0; j < visible; j += kLanes) {
    V x = Mul(Load(scores + j), Set1(scale));
    if (visible - j < kLanes) x = FillFrom(x, visible - j, lowest);
    Store(scores + j, x);
    high = Max(high, x);
  }
  *max = MaxLanes(high);
  // Masked keys alone (a NaN among the scores is not hidden: the sum below then has it).
  const V top = Set1(*max == lowest ? 0.0f : *max);
  V total = Zero();
  for (int j = 0; j < visible; j += kLanes) {
    const V e = Exp(Sub(Load(scores + j), top));
    Store(scores + j, e);
    total = Add(total, e);
  }
  *sum = SumLanes(total);
}

inline float ExpOf(float x) {
  float lanes[kLanes];
  Store(lanes, Exp(Set1(x)));
  return lanes[0];
}

// (max, total, sum) of earlier segments with (max, total, part) of this one.
inline void Merge(float max, float total, const float* part, int64_t n, bool first, float* all_max, float* all_total,
                  float* sum) {
  const float lowest = -__builtin_inff();
  if (!first && max == lowest && total == 0.0f) return;  // all of this segment's keys are masked
  if (first || (*all_max == lowest && *all_total == 0.0f)) {
    *all_max = max;
    *all_total = total;
    for (int64_t i = 0; i < n; i += kLanes) Store(sum + i, Load(part + i));
    return;
  }
  const float top = max > *all_max ? max : *all_max;
  const float old_share = ExpOf(*all_max - top), new_share = ExpOf(max - top);
  *all_max = top;
  *all_total = *all_total * old_share + total * new_share;
  for (int64_t i = 0; i < n; i += kLanes) {
    Store(sum + i, Fma(Load(part + i), Set1(new_share), Mul(Load(sum + i), Set1(old_share))));
  }
}

}  // namespace

void AttendTile(const AttentionTile& t) {
  Geometry g;
  g.rows = static_cast<int64_t>(t.tokens) * t.group;
  g.steps = t.bf16 ? RoundUp((t.head_dim + 1) / 2, kStepAlign) : t.head_dim;
  g.padded_dim = RoundUp(t.head_dim, kLanes);
  Scratch s;
  float* free = t.scratch;
  auto take = [&free](int64_t floats) {
    float* p = free;
    free += RoundUp(floats, kLanes);
    return p;
  };
  s.q = take(RoundUp(g.rows, 16) * (t.bf16 ? 2 * g.steps : g.steps));
  s.scores = take(g.rows * kAttentionSegment);
  s.part = take(g.rows * g.padded_dim);
  s.sum = take(g.rows * g.padded_dim);
  s.max = take(g.rows);
  s.total = take(g.rows);
  s.segment_max = take(g.rows);
  s.segment_total = take(g.rows);

  ConvertQueries(t, g, s);

  const int64_t tile_end = static_cast<int64_t>(t.position) + t.tokens;
  for (int64_t begin = 0; begin < tile_end; begin += kAttentionSegment) {
    const int64_t end = MinOf(begin + kAttentionSegment, tile_end);
    Scores(t, g, s, begin, end);
    auto visible = [&](int64_t token) {
      return static_cast<int>(MaxOf(0, MinOf(kAttentionSegment, t.position + token + 1 - begin)));
    };
    int first_token = 0;
    while (visible(first_token) == 0) ++first_token;
    for (int i = first_token; i < t.tokens; ++i) {
      for (int h = 0; h < t.group; ++h) {
        const int64_t r = static_cast<int64_t>(i) * t.group + h;
        if (t.key_bias != nullptr) {
          MaskKeys(t.key_bias + begin, visible(i), static_cast<int>(t.position + i - begin),
                   s.scores + r * kAttentionSegment);
        }
        RowSoftmax(s.scores + r * kAttentionSegment, visible(i), t.scale, s.segment_max + r, s.segment_total + r);
        for (int64_t e = 0; e < g.padded_dim; e += kLanes) Store(s.part + r * g.padded_dim + e, Zero());
      }
    }
    const int common = visible(first_token);
    const int64_t first_row = static_cast<int64_t>(first_token) * t.group;
    Values(t, g, s, begin, 0, common, first_row, g.rows - first_row);
    for (int i = first_token + 1; i < t.tokens; ++i) {
      Values(t, g, s, begin, common, visible(i), static_cast<int64_t>(i) * t.group, t.group);
    }
    for (int64_t r = first_row; r < g.rows; ++r) {
      Merge(s.segment_max[r], s.segment_total[r], s.part + r * g.padded_dim, g.padded_dim, begin == 0, s.max + r,
            s.total + r, s.sum + r * g.padded_dim);
    }
  }

  for (int i = 0; i < t.tokens; ++i) {
    for (int h = 0; h < t.group; ++h) {
      const int64_t r = static_cast<int64_t>(i) * t.group + h;
      const V inverse = Set1(1.0f / s.total[r]);
      float* out = t.o + i * t.ldo + static_cast<int64_t>(h) * t.head_dim;
      for (int e = 0; e < t.head_dim; e += kLanes) {
        const int width = static_cast<int>(MinOf(kLanes, t.head_dim - e));
        StoreN(out + e, Mul(Load(s.sum + r * g.padded_dim + e), inverse), width);
      }
      if (t.log_sum_exp != nullptr) {
        t.log_sum_exp[i * t.ld_lse + h] = s.max[r] + static_cast<float>(Log(s.total[r]));
      }
    }
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
