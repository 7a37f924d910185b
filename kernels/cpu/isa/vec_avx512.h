// 16 lanes in one 512-bit register. See vec.h for what each function means.
#pragma once

namespace hone::kernels::cpu::HONE_ISA {

struct V {
  __m512 v;
};
struct I {
  __m512i v;
};

inline __mmask16 FirstLanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline V Zero() { return {_mm512_setzero_ps()}; }
inline V Set1(float x) { return {_mm512_set1_ps(x)}; }
inline V Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline V LoadN(const float* p, int n) { return {_mm512_maskz_loadu_ps(FirstLanes(n), p)}; }
inline void Store(float* p, V x) { _mm512_storeu_ps(p, x.v); }
inline void StoreN(float* p, V x, int n) { _mm512_mask_storeu_ps(p, FirstLanes(n), x.v); }
inline V Add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
inline V Sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline V Mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline V Div(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
inline V Fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline V Max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }
inline V Min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }
inline V Sqrt(V a) { return {_mm512_sqrt_ps(a.v)}; }
inline V IfLess(V a, V b, V x, V y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
inline V Iota() {
  return {_mm512_cvtepi32_ps(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))};
}

inline I AsInt(V a) { return {_mm512_castps_si512(a.v)}; }
inline V AsFloat(I a) { return {_mm512_castsi512_ps(a.v)}; }
inline I SetInt1(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline I AddInt(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I AndInt(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
inline I OrInt(I a, I b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int kBits>
inline I ShiftLeft(I a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>
inline I ShiftRight(I a) {
  return {_mm512_srli_epi32(a.v, kBits)};
}
inline I LoadInt(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void StoreInt(uint32_t* p, I a) { _mm512_storeu_si512(p, a.v); }
inline I IfNan(V a, I x, I y) {
  return {_mm512_mask_blend_epi32(_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), y.v, x.v)};
}
inline I LoadUint16(const uint16_t* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void StoreUint16(uint16_t* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}

// Halves, quarters, pairs: lane i meets lane i + 8, then + 4, + 2, + 1.
inline float SumLanes(V a) {
  const __m256 h =
      _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
inline float MaxLanes(V a) {
  const __m256 h =
      _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}

struct D {
  __m512d lo, hi;
};
inline D ZeroDouble() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
// a + x^2 in double: the square of a float is exact there.
inline D AddSquare(D a, V x) {
  const __m512d lo = _mm512_cvtps_pd(_mm512_castps512_ps256(x.v));
  const __m512d hi = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1)));
  return {_mm512_add_pd(a.lo, _mm512_mul_pd(lo, lo)), _mm512_add_pd(a.hi, _mm512_mul_pd(hi, hi))};
}
inline void StoreDouble(double* p, D a) {
  _mm512_storeu_pd(p, a.lo);
  _mm512_storeu_pd(p + 8, a.hi);
}

// out[j][i] = in[i][j] for a 16 x 16 block of dwords; strides in dwords.
inline void Transpose16(const uint32_t* in, int64_t in_stride, uint32_t* out, int64_t out_stride) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(in + i * in_stride);
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // r[4g + c] holds, in 128-bit lane l, column 4l + c of rows 4g .. 4g+3.
  for (int c = 0; c < 4; ++c) {
    t[c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);           // lanes 0, 2 of groups 0, 1
    t[4 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);  // and of groups 2, 3
    t[8 + c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);       // lanes 1, 3
    t[12 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
  }
  for (int c = 0; c < 4; ++c) {
    _mm512_storeu_si512(out + c * out_stride, _mm512_shuffle_i32x4(t[c], t[4 + c], 0x88));
    _mm512_storeu_si512(out + (8 + c) * out_stride, _mm512_shuffle_i32x4(t[c], t[4 + c], 0xdd));
    _mm512_storeu_si512(out + (4 + c) * out_stride, _mm512_shuffle_i32x4(t[8 + c], t[12 + c], 0x88));
    _mm512_storeu_si512(out + (12 + c) * out_stride, _mm512_shuffle_i32x4(t[8 + c], t[12 + c], 0xdd));
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
