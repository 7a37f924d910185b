// Gradients of causal attention for one sequence and kv head, in fp32 on values rounded as the forward pass rounded
// them.
//
// For each head of the group, then each block of 32 queries ascending: S = Q K^T, P = e^(scale S - lse), dP = dO V^T,
// dS = scale P (dP - D) with D = sum(dO O); dQ = dS K, dK += dS^T Q, dV += P^T dO. This task owns its dK and dV: their
// sums go by head, then query, ascending. (The algebra is that of FlashAttention, arXiv:2205.14135, appendix B.)
#include "kernels/cpu/isa/parts.h"

#if defined(__AMX_BF16__)
#include "kernels/cpu/isa/attention_backward_amx.h"
#endif

namespace hone::kernels::cpu::HONE_ISA {
namespace {

constexpr int64_t kQueryBlock = 32;

inline int64_t RoundUp(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// rows of x [rows][n] to out [rows][padded], rounded where asked, zero padded.
void CopyRows(const float* x, int64_t ld, int64_t rows, int64_t n, bool round, float* out, int64_t padded) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t e = 0; e < padded; e += kLanes) {
      const V v = LoadN(x + i * ld + e, static_cast<int>(MinOf(kLanes, n - e)));
      Store(out + i * padded + e, round ? RoundToBf16(v) : v);
    }
  }
}

}  // namespace

// P and dS of one query row over `columns` keys of which the first `visible` count, the last of them the row's own
// token. s holds S and receives P; dp holds dP and receives dS. key_bias: as in AttentionBackwardTask.
void RowGradient(float* s, float* dp, int64_t visible, int64_t columns, float scale, float log_sum_exp, float dot,
                 const float* key_bias) {
  if (key_bias != nullptr) {
    for (int64_t j = 0; j + 1 < visible; ++j) s[j] += key_bias[j];
  }
  for (int64_t j = 0; j < columns; j += kLanes) {
    V p = Zero(), ds = Zero();
    if (j < visible) {
      V x = Fma(Load(s + j), Set1(scale), Set1(-log_sum_exp));
      V d = Sub(Load(dp + j), Set1(dot));
      if (visible - j < kLanes) {
        x = FillFrom(x, static_cast<int>(visible - j), -__builtin_inff());
        d = FillFrom(d, static_cast<int>(visible - j), 0.0f);
      }
      p = Exp(x);
      ds = Mul(Mul(p, d), Set1(scale));
    }
    Store(s + j, p);
    Store(dp + j, ds);
  }
}

void AttendBackward(const AttentionBackwardTask& t) {
#if defined(__AMX_BF16__)
  if (t.bf16) return BackwardOnTiles(t).Run();
#endif
  const int64_t tokens = t.tokens, dim = t.head_dim;
  const int64_t padded = RoundUp(dim, kLanes), keys = RoundUp(tokens, kLanes);
  float* free = t.scratch;
  auto take = [&free](int64_t floats) {
    float* p = free;
    free += floats;
    return p;
  };
  float* k_rows = take(keys * padded);    // [T][E16]
  float* k_panels = take(keys * padded);  // [T/16][E16][16]
  float* v_panels = take(keys * padded);
  float* q = take(kQueryBlock * padded);
  float* d_o = take(kQueryBlock * padded);
  float* s = take(kQueryBlock * keys);
  float* dp = take(kQueryBlock * keys);

  CopyRows(t.v, t.ldkv, tokens, dim, t.bf16, k_rows, padded);  // v passes through k_rows on its way to panels
  for (int64_t j = 0; j < tokens; j += kLanes) {
    PackRowsF32(k_rows + j * padded, padded, static_cast<int>(MinOf(kLanes, tokens - j)), padded,
                v_panels + j * padded);
  }
  CopyRows(t.k, t.ldkv, tokens, dim, t.bf16, k_rows, padded);
  for (int64_t j = 0; j < tokens; j += kLanes) {
    PackRowsF32(k_rows + j * padded, padded, static_cast<int>(MinOf(kLanes, tokens - j)), padded,
                k_panels + j * padded);
  }
  for (int64_t j = 0; j < tokens; ++j) {
    for (int64_t e = 0; e < dim; ++e) t.dk[j * t.ldkv + e] = t.dv[j * t.ldkv + e] = 0.0f;
  }

  for (int h = 0; h < t.group; ++h) {
    for (int64_t begin = t.first_query; begin < tokens; begin += kQueryBlock) {
      const int64_t rows = MinOf(kQueryBlock, tokens - begin), row = begin - t.first_query;
      const int64_t end = begin + rows, columns = RoundUp(end, kLanes);
      CopyRows(t.q + row * t.ldq + h * dim, t.ldq, rows, dim, t.bf16, q, padded);
      CopyRows(t.d_o + row * t.ldo + h * dim, t.ldo, rows, dim, false, d_o, padded);
      GemmTiles<F32Product, false>(
          {q, padded, k_panels, padded * kLanes, kLanes, rows, columns, padded, s, keys, nullptr, CMode::kStore});
      GemmTiles<F32Product, false>(
          {d_o, padded, v_panels, padded * kLanes, kLanes, rows, columns, padded, dp, keys, nullptr, CMode::kStore});
      for (int64_t i = 0; i < rows; ++i) {
        const float* o = t.o + (row + i) * t.ldo + h * dim;
        V dot = Zero();
        for (int64_t e = 0; e < dim; e += kLanes) {
          dot = Fma(LoadN(o + e, static_cast<int>(MinOf(kLanes, dim - e))), Load(d_o + i * padded + e), dot);
        }
        RowGradient(s + i * keys, dp + i * keys, begin + i + 1, columns, t.scale,
                    t.log_sum_exp[(row + i) * t.ld_lse + h], SumLanes(dot), t.key_bias);
      }
      GemmTiles<F32Product, false>({dp, keys, k_rows, kLanes, padded, rows, dim, end, t.dq + row * t.ldq + h * dim,
                                    t.ldq, nullptr, CMode::kStore});
      GemmTiles<F32Product, true>(
          {dp, keys, q, kLanes, padded, end, dim, rows, t.dk, t.ldkv, nullptr, CMode::kContinue});
      GemmTiles<F32Product, true>(
          {s, keys, d_o, kLanes, padded, end, dim, rows, t.dv, t.ldkv, nullptr, CMode::kContinue});
    }
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
