// 16 lanes in four 128-bit registers; no FMA: Fma rounds the product. See vec.h for what each function means.
#pragma once

namespace hone::kernels::cpu::HONE_ISA {

struct V {
  __m128 a, b, c, d;
};
struct I {
  __m128i a, b, c, d;
};

#define HONE_EACH_2(T, f, x, y) \
  T { f(x.a, y.a), f(x.b, y.b), f(x.c, y.c), f(x.d, y.d) }

inline V Set1(float x) {
  const __m128 v = _mm_set1_ps(x);
  return {v, v, v, v};
}
inline V Zero() { return Set1(0.0f); }
inline V Load(const float* p) {
  return {_mm_loadu_ps(p), _mm_loadu_ps(p + 4), _mm_loadu_ps(p + 8), _mm_loadu_ps(p + 12)};
}
inline void Store(float* p, V x) {
  _mm_storeu_ps(p, x.a);
  _mm_storeu_ps(p + 4, x.b);
  _mm_storeu_ps(p + 8, x.c);
  _mm_storeu_ps(p + 12, x.d);
}
inline V LoadN(const float* p, int n) {
  float lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return Load(lanes);
}
inline void StoreN(float* p, V x, int n) {
  float lanes[16];
  Store(lanes, x);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
inline V Add(V x, V y) { return HONE_EACH_2(V, _mm_add_ps, x, y); }
inline V Sub(V x, V y) { return HONE_EACH_2(V, _mm_sub_ps, x, y); }
inline V Mul(V x, V y) { return HONE_EACH_2(V, _mm_mul_ps, x, y); }
inline V Div(V x, V y) { return HONE_EACH_2(V, _mm_div_ps, x, y); }
inline V Max(V x, V y) { return HONE_EACH_2(V, _mm_max_ps, x, y); }
inline V Min(V x, V y) { return HONE_EACH_2(V, _mm_min_ps, x, y); }
inline V Fma(V x, V y, V z) { return Add(Mul(x, y), z); }
inline V Sqrt(V x) { return {_mm_sqrt_ps(x.a), _mm_sqrt_ps(x.b), _mm_sqrt_ps(x.c), _mm_sqrt_ps(x.d)}; }
inline __m128 Blend(__m128 mask, __m128 x, __m128 y) { return _mm_or_ps(_mm_and_ps(mask, x), _mm_andnot_ps(mask, y)); }
inline V IfLess(V l, V r, V x, V y) {
  return {Blend(_mm_cmplt_ps(l.a, r.a), x.a, y.a), Blend(_mm_cmplt_ps(l.b, r.b), x.b, y.b),
          Blend(_mm_cmplt_ps(l.c, r.c), x.c, y.c), Blend(_mm_cmplt_ps(l.d, r.d), x.d, y.d)};
}
inline V Iota() {
  return {_mm_setr_ps(0, 1, 2, 3), _mm_setr_ps(4, 5, 6, 7), _mm_setr_ps(8, 9, 10, 11), _mm_setr_ps(12, 13, 14, 15)};
}

inline I AsInt(V x) {
  return {_mm_castps_si128(x.a), _mm_castps_si128(x.b), _mm_castps_si128(x.c), _mm_castps_si128(x.d)};
}
inline V AsFloat(I x) {
  return {_mm_castsi128_ps(x.a), _mm_castsi128_ps(x.b), _mm_castsi128_ps(x.c), _mm_castsi128_ps(x.d)};
}
inline I SetInt1(int32_t x) {
  const __m128i v = _mm_set1_epi32(x);
  return {v, v, v, v};
}
inline I AddInt(I x, I y) { return HONE_EACH_2(I, _mm_add_epi32, x, y); }
inline I AndInt(I x, I y) { return HONE_EACH_2(I, _mm_and_si128, x, y); }
inline I OrInt(I x, I y) { return HONE_EACH_2(I, _mm_or_si128, x, y); }
template <int kBits>
inline I ShiftLeft(I x) {
  return {_mm_slli_epi32(x.a, kBits), _mm_slli_epi32(x.b, kBits), _mm_slli_epi32(x.c, kBits),
          _mm_slli_epi32(x.d, kBits)};
}
template <int kBits>
inline I ShiftRight(I x) {
  return {_mm_srli_epi32(x.a, kBits), _mm_srli_epi32(x.b, kBits), _mm_srli_epi32(x.c, kBits),
          _mm_srli_epi32(x.d, kBits)};
}
inline I LoadInt(const uint32_t* p) { return AsInt(Load(reinterpret_cast<const float*>(p))); }
inline void StoreInt(uint32_t* p, I x) { Store(reinterpret_cast<float*>(p), AsFloat(x)); }
inline I IfNan(V v, I x, I y) {
  const V fx = AsFloat(x), fy = AsFloat(y);
  return AsInt(V{Blend(_mm_cmpunord_ps(v.a, v.a), fx.a, fy.a), Blend(_mm_cmpunord_ps(v.b, v.b), fx.b, fy.b),
                 Blend(_mm_cmpunord_ps(v.c, v.c), fx.c, fy.c), Blend(_mm_cmpunord_ps(v.d, v.d), fx.d, fy.d)});
}
inline I LoadUint16(const uint16_t* p) {
  const __m128i lo = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i hi = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8));
  const __m128i z = _mm_setzero_si128();
  return {_mm_unpacklo_epi16(lo, z), _mm_unpackhi_epi16(lo, z), _mm_unpacklo_epi16(hi, z), _mm_unpackhi_epi16(hi, z)};
}
inline void StoreUint16(uint16_t* p, I x) {
  // SSE2 only packs with signed saturation: sign-extend the low halves first, then nothing saturates.
  auto extend = [](__m128i v) { return _mm_srai_epi32(_mm_slli_epi32(v, 16), 16); };
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(extend(x.a), extend(x.b)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm_packs_epi32(extend(x.c), extend(x.d)));
}

// Halves, quarters, pairs: lane i meets lane i + 8, then + 4, + 2, + 1.
inline float SumLanes(V x) {
  const __m128 q = _mm_add_ps(_mm_add_ps(x.a, x.c), _mm_add_ps(x.b, x.d));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
inline float MaxLanes(V x) {
  const __m128 q = _mm_max_ps(_mm_max_ps(x.a, x.c), _mm_max_ps(x.b, x.d));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}

struct D {
  __m128d q[8];
};
inline D ZeroDouble() {
  D d;
  for (int i = 0; i < 8; ++i) d.q[i] = _mm_setzero_pd();
  return d;
}
// a + x^2 in double: the square of a float is exact there.
inline D AddSquare(D a, V x) {
  const __m128 parts[4] = {x.a, x.b, x.c, x.d};
  for (int i = 0; i < 4; ++i) {
    const __m128d lo = _mm_cvtps_pd(parts[i]);
    const __m128d hi = _mm_cvtps_pd(_mm_movehl_ps(parts[i], parts[i]));
    a.q[2 * i] = _mm_add_pd(a.q[2 * i], _mm_mul_pd(lo, lo));
    a.q[2 * i + 1] = _mm_add_pd(a.q[2 * i + 1], _mm_mul_pd(hi, hi));
  }
  return a;
}
inline void StoreDouble(double* p, D a) {
  for (int i = 0; i < 8; ++i) _mm_storeu_pd(p + 2 * i, a.q[i]);
}

// out[j][i] = in[i][j] for a 16 x 16 block of dwords; strides in dwords.
inline void Transpose16(const uint32_t* in, int64_t in_stride, uint32_t* out, int64_t out_stride) {
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 16; j += 4) {
      __m128 r[4];
      for (int k = 0; k < 4; ++k) r[k] = _mm_loadu_ps(reinterpret_cast<const float*>(in + (i + k) * in_stride + j));
      _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
      for (int k = 0; k < 4; ++k) _mm_storeu_ps(reinterpret_cast<float*>(out + (j + k) * out_stride + i), r[k]);
    }
  }
}

#undef HONE_EACH_2

}  // namespace hone::kernels::cpu::HONE_ISA
