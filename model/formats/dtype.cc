#include "model/formats/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/strings.h"

namespace hone::model {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor files are little-endian and are mapped as they are");

struct DTypeEntry {
  DType dtype;
  std::string_view name;
  size_t size;
};

constexpr std::array<DTypeEntry, 15> kDTypes = {{{DType::kBool, "BOOL", 1},
                                                 {DType::kU8, "U8", 1},
                                                 {DType::kI8, "I8", 1},
                                                 {DType::kF8E4M3, "F8_E4M3", 1},
                                                 {DType::kF8E5M2, "F8_E5M2", 1},
                                                 {DType::kI16, "I16", 2},
                                                 {DType::kU16, "U16", 2},
                                                 {DType::kF16, "F16", 2},
                                                 {DType::kBF16, "BF16", 2},
                                                 {DType::kI32, "I32", 4},
                                                 {DType::kU32, "U32", 4},
                                                 {DType::kF32, "F32", 4},
                                                 {DType::kI64, "I64", 8},
                                                 {DType::kU64, "U64", 8},
                                                 {DType::kF64, "F64", 8}}};

template <typename T>
T Load(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

}  // namespace

std::string_view DTypeName(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }
size_t DTypeSize(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].size; }

absl::StatusOr<DType> ParseDType(std::string_view name) {
  for (const DTypeEntry& entry : kDTypes) {
    if (entry.name == name) return entry.dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown dtype '", ToAbsl(name.substr(0, 64)), "'"));
}

uint16_t F32ToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);  // quiet, and never rounded to infinity
  bits += 0x7fff + ((bits >> 16) & 1);
  return static_cast<uint16_t>(bits >> 16);
}

float Bf16ToF32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;   // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // from 65520 on everything rounds to infinity
  if (magnitude < 0x38800000) {                       // below 2^-14: subnormal, in units of 2^-24
    if (magnitude < 0x33000000) return sign;          // below half a unit
    const int shift = 126 - static_cast<int>(magnitude >> 23);
    const uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    const uint32_t kept = mantissa >> shift;
    const uint32_t rest = mantissa & ((1u << shift) - 1);
    const uint32_t half = 1u << (shift - 1);
    return sign | static_cast<uint16_t>(kept + (rest > half || (rest == half && (kept & 1))));
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in fp32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

absl::Status ConvertToF32(DType dtype, const uint8_t* bytes, size_t count, float* out) {
  switch (dtype) {
    case DType::kF32:
      if (count > 0) std::memcpy(out, bytes, count * 4);
      return absl::OkStatus();
    case DType::kBF16:
      for (size_t i = 0; i < count; ++i) out[i] = Bf16ToF32(Load<uint16_t>(bytes + 2 * i));
      return absl::OkStatus();
    case DType::kF16:
      for (size_t i = 0; i < count; ++i) out[i] = F16ToF32(Load<uint16_t>(bytes + 2 * i));
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("expected dtype F32, F16 or BF16, found ", ToAbsl(DTypeName(dtype))));
  }
}

absl::Status ConvertFromF32(DType dtype, const float* values, size_t count, uint8_t* out) {
  switch (dtype) {
    case DType::kF32:
      if (count > 0) std::memcpy(out, values, count * 4);
      return absl::OkStatus();
    case DType::kBF16:
    case DType::kF16:
      for (size_t i = 0; i < count; ++i) {
        const uint16_t half = dtype == DType::kBF16 ? F32ToBf16(values[i]) : F32ToF16(values[i]);
        std::memcpy(out + 2 * i, &half, 2);
      }
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(absl::StrCat("cannot write fp32 as ", ToAbsl(DTypeName(dtype))));
  }
}

}  // namespace hone::model
