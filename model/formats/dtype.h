// Element types of tensors in files, and their conversion to fp32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace hone::model {

// The element types of the safetensors format. Only kF32, kF16 and kBF16 can be read as fp32 or written from it.
enum class DType { kBool, kU8, kI8, kF8E4M3, kF8E5M2, kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kI64, kU64, kF64 };

std::string_view DTypeName(DType dtype);  // "F32", "BF16", ... as safetensors spells it
size_t DTypeSize(DType dtype);            // bytes of one element
// INVALID_ARGUMENT for a name that is not in the format.
absl::StatusOr<DType> ParseDType(std::string_view name);

// IEEE-754 conversions, exact where the target can hold the value, else round to nearest even. NaN stays NaN.
uint16_t F32ToBf16(float value);
float Bf16ToF32(uint16_t bits);
uint16_t F32ToF16(float value);
float F16ToF32(uint16_t bits);

// `count` little-endian elements of `dtype` (kF32, kF16 or kBF16) at `bytes` (any alignment) to fp32, and back.
absl::Status ConvertToF32(DType dtype, const uint8_t* bytes, size_t count, float* out);
absl::Status ConvertFromF32(DType dtype, const float* values, size_t count, uint8_t* out);

}  // namespace hone::model
