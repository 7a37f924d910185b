// Vectors of 16 lanes for every instruction path. The files of cpu/isa/ are compiled once per path, each time with its
// own -m flags and with HONE_ISA set to the path's namespace; so they include nothing that defines inline functions
// outside that namespace (no standard library beyond <stdint.h>): the linker would keep one copy for all paths, perhaps
// the widest.
//
// V: 16 floats, I: 16 int32, D: 16 doubles. LoadN/StoreN touch the first n lanes only (LoadN zeroes the others).
// Fma(a, b, c) = a b + c, rounded once except on the baseline path. Max(a, b) and Min(a, b) are b where either is NaN.
// IfLess(a, b, x, y) = a < b ? x : y per lane. SumLanes and MaxLanes fold halves: the same order on every path.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#ifndef HONE_ISA
#error "cpu/isa/ is compiled with HONE_ISA set to the namespace of the instruction path"
#endif

#if defined(__AVX512F__)
#include "kernels/cpu/isa/vec_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/isa/vec_avx2.h"
#else
#include "kernels/cpu/isa/vec_sse2.h"
#endif

namespace hone::kernels::cpu::HONE_ISA {

inline constexpr int kLanes = 16;

inline int64_t MinOf(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t MaxOf(int64_t a, int64_t b) { return a > b ? a : b; }

// Lanes >= n replaced by `fill`.
inline V FillFrom(V x, int n, float fill) { return IfLess(Iota(), Set1(static_cast<float>(n)), x, Set1(fill)); }

// e^x, relative error below 2^-22 (2^-21.5 without FMA). 0 below -87.3 (no subnormal results), +inf above 88.37; NaN
// stays NaN.
inline V Exp(V x) {
  constexpr float kLowest = -87.33f, kHighest = 88.37f;
  // Max and Min return their second operand for NaN: NaN goes through.
  const V clamped = Min(Set1(kHighest), Max(Set1(kLowest), x));
  // n = round(x / ln 2): adding 1.5 * 2^23 leaves the integer in the low bits.
  const V shift = Set1(12582912.0f);
  const V shifted = Fma(clamped, Set1(1.44269504f), shift);
  const V n = Sub(shifted, shift);
  // r = x - n ln 2, ln 2 in two parts of which the first has 9 trailing zero bits: n * part is exact.
  V r = Fma(n, Set1(-0.693145751953125f), clamped);
  r = Fma(n, Set1(-1.428606765330187e-06f), r);
  V p = Set1(1.0f / 5040.0f);  // |r| <= 0.347: r^8 / 8! < 2^-27
  p = Fma(p, r, Set1(1.0f / 720.0f));
  p = Fma(p, r, Set1(1.0f / 120.0f));
  p = Fma(p, r, Set1(1.0f / 24.0f));
  p = Fma(p, r, Set1(1.0f / 6.0f));
  p = Fma(p, r, Set1(0.5f));
  p = Fma(Mul(p, r), r, Add(r, Set1(1.0f)));
  const V power = AsFloat(ShiftLeft<23>(AddInt(AsInt(shifted), SetInt1(127))));
  const V y = Mul(p, power);
  return IfLess(x, Set1(kLowest), Zero(), IfLess(Set1(kHighest), x, Set1(__builtin_inff()), y));
}

// The bf16 nearest to x (ties to even) in the upper half of each lane; the lower half is not cleared. NaN becomes
// quiet.
inline I RoundBits(V x) {
  const I bits = AsInt(x);
  const I odd = AndInt(ShiftRight<16>(bits), SetInt1(1));
  return IfNan(x, OrInt(bits, SetInt1(0x400000)), AddInt(bits, AddInt(odd, SetInt1(0x7fff))));
}
inline V RoundToBf16(V x) { return AsFloat(AndInt(RoundBits(x), SetInt1(static_cast<int32_t>(0xffff0000)))); }
// Operands of a bf16 product: OperandPairs: lane i = bf16(even[i]) in the lower half, bf16(odd[i]) in the upper.
// OperandHalves: the 32 values low, high one after the other. With the processor's conversion subnormals become 0, as
// its products would take them.
#if defined(__AVX512BF16__)
inline I OperandHalves(V low, V high) { return {(__m512i)_mm512_cvtne2ps_pbh(high.v, low.v)}; }
inline I OperandPairs(V even, V odd) {
  alignas(64) static constexpr uint16_t kInterleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return {_mm512_permutexvar_epi16(_mm512_load_si512(kInterleave), OperandHalves(even, odd).v)};
}
#else
inline I OperandPairs(V even, V odd) {
  return OrInt(ShiftRight<16>(RoundBits(even)), AndInt(RoundBits(odd), SetInt1(static_cast<int32_t>(0xffff0000))));
}
inline I OperandHalves(V low, V high) {
  uint16_t values[32];
  StoreUint16(values, ShiftRight<16>(RoundBits(low)));
  StoreUint16(values + 16, ShiftRight<16>(RoundBits(high)));
  return LoadInt(reinterpret_cast<const uint32_t*>(values));
}
#endif
inline V EvenOfPairs(I pairs) { return AsFloat(ShiftLeft<16>(pairs)); }
inline V OddOfPairs(I pairs) { return AsFloat(AndInt(pairs, SetInt1(static_cast<int32_t>(0xffff0000)))); }
inline V LoadBf16(const uint16_t* p) { return AsFloat(ShiftLeft<16>(LoadUint16(p))); }
inline void StoreBf16(uint16_t* p, V x) { StoreUint16(p, ShiftRight<16>(RoundBits(x))); }

}  // namespace hone::kernels::cpu::HONE_ISA
