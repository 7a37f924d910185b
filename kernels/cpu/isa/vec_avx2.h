// 16 lanes in two 256-bit registers. See vec.h for what each function means.
#pragma once

namespace hone::kernels::cpu::HONE_ISA {

struct V {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};

inline V Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline V Set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline V Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, V x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline __m256i LanesBelow(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline V LoadN(const float* p, int n) {
  return {_mm256_maskload_ps(p, LanesBelow(n)),
          n > 8 ? _mm256_maskload_ps(p + 8, LanesBelow(n - 8)) : _mm256_setzero_ps()};
}
inline void StoreN(float* p, V x, int n) {
  _mm256_maskstore_ps(p, LanesBelow(n), x.a);
  if (n > 8) _mm256_maskstore_ps(p + 8, LanesBelow(n - 8), x.b);
}
inline V Add(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline V Sub(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline V Mul(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline V Div(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline V Fma(V x, V y, V z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline V Max(V x, V y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline V Min(V x, V y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline V Sqrt(V x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
inline V IfLess(V l, V r, V x, V y) {
  return {_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(l.a, r.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(l.b, r.b, _CMP_LT_OQ))};
}
inline V Iota() { return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)}; }

inline I AsInt(V x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline V AsFloat(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline I SetInt1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I AddInt(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I AndInt(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline I OrInt(I x, I y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
template <int kBits>
inline I ShiftLeft(I x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
template <int kBits>
inline I ShiftRight(I x) {
  return {_mm256_srli_epi32(x.a, kBits), _mm256_srli_epi32(x.b, kBits)};
}
inline I LoadInt(const uint32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
inline void StoreInt(uint32_t* p, I x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), x.b);
}
inline I IfNan(V v, I x, I y) {
  return {_mm256_blendv_epi8(y.a, x.a, _mm256_castps_si256(_mm256_cmp_ps(v.a, v.a, _CMP_UNORD_Q))),
          _mm256_blendv_epi8(y.b, x.b, _mm256_castps_si256(_mm256_cmp_ps(v.b, v.b, _CMP_UNORD_Q)))};
}
inline I LoadUint16(const uint16_t* p) {
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline void StoreUint16(uint16_t* p, I x) {
  // The pack works within 128-bit lanes; the permutation puts the quarters back in order.
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(x.a, x.b), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}

// Halves, quarters, pairs: lane i meets lane i + 8, then + 4, + 2, + 1.
inline float SumLanes(V x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
inline float MaxLanes(V x) {
  const __m256 h = _mm256_max_ps(x.a, x.b);
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}

struct D {
  __m256d q[4];
};
inline D ZeroDouble() {
  const __m256d z = _mm256_setzero_pd();
  return {{z, z, z, z}};
}
// a + x^2 in double: the square of a float is exact there.
inline D AddSquare(D a, V x) {
  const __m256d q[4] = {_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)),
                        _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))};
  for (int i = 0; i < 4; ++i) a.q[i] = _mm256_add_pd(a.q[i], _mm256_mul_pd(q[i], q[i]));
  return a;
}
inline void StoreDouble(double* p, D a) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, a.q[i]);
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

}  // namespace hone::kernels::cpu::HONE_ISA
