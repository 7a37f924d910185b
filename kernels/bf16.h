// Scalar bf16 conversion: the rule of every path (nearest even; NaN stays NaN, made quiet).
#pragma once

#include <bit>
#include <cstdint>

namespace hone::kernels {

inline uint16_t FloatToBf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float Bf16ToFloat(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

inline float RoundThroughBf16(float x) { return Bf16ToFloat(FloatToBf16(x)); }

}  // namespace hone::kernels
