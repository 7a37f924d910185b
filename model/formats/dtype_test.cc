#include "model/formats/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace hone::model {
namespace {

// The value of IEEE half `bits` by definition.
double HalfValue(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const double mantissa = bits & 0x3ff;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(DTypeTest, EveryHalfIsReadAndWrittenBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = F16ToF32(half);
    if (std::isnan(HalfValue(half))) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(F16ToF32(F32ToF16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), HalfValue(half)) << bits;
    ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << bits;
    ASSERT_EQ(F32ToF16(value), half) << bits;
  }
}

TEST(DTypeTest, HalvesRoundToTheNearestAndTiesToEven) {
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {  // each positive finite half and its successor
    const double low = HalfValue(bits);
    const double high = HalfValue(bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);  // exact: one bit more than a half has
    ASSERT_EQ(F32ToF16(middle), (bits & 1) == 0 ? bits : bits + 1) << bits;
    ASSERT_EQ(F32ToF16(std::nextafter(middle, 0.0f)), bits) << bits;
    ASSERT_EQ(F32ToF16(std::nextafter(middle, INFINITY)), bits + 1) << bits;
  }
  EXPECT_EQ(F32ToF16(65519.996f), 0x7bff);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(F32ToF16(-INFINITY), 0xfc00);
  EXPECT_EQ(F32ToF16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(DTypeTest, Bf16RoundsToTheNearestAndTiesToEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = Bf16ToF32(half);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(F32ToBf16(value), half) << bits;
    if (std::isinf(value)) continue;
    const float middle = std::bit_cast<float>(bits << 16 | 0x8000);
    ASSERT_EQ(F32ToBf16(middle), (bits & 1) == 0 ? bits : bits + 1) << bits;
    ASSERT_EQ(F32ToBf16(std::bit_cast<float>(bits << 16 | 0x7fff)), bits) << bits;
    ASSERT_EQ(F32ToBf16(std::bit_cast<float>(bits << 16 | 0x8001)), bits + 1) << bits;
  }
  // A NaN whose payload is in the low bits only must not become an infinity.
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(DTypeTest, NamesAndSizes) {
  for (const char* name : {"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "I16", "U16", "F16", "BF16", "I32", "U32", "F32",
                           "I64", "U64", "F64"}) {
    const auto dtype = ParseDType(name);
    ASSERT_TRUE(dtype.ok()) << name;
    EXPECT_EQ(DTypeName(*dtype), name);
  }
  EXPECT_EQ(DTypeSize(DType::kBF16), 2u);
  EXPECT_EQ(DTypeSize(DType::kF64), 8u);
  EXPECT_EQ(ParseDType("F128").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ParseDType("F128").status().message()), testing::HasSubstr("F128"));
}

TEST(DTypeTest, ArraysAtAnyAlignment) {
  const std::vector<float> values = {1.0f, -2.5f, 0.1f};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<uint8_t> bytes(1 + values.size() * DTypeSize(dtype));
    ASSERT_TRUE(ConvertFromF32(dtype, values.data(), values.size(), bytes.data() + 1).ok());
    std::vector<float> back(values.size());
    ASSERT_TRUE(ConvertToF32(dtype, bytes.data() + 1, values.size(), back.data()).ok());
    EXPECT_EQ(back[0], 1.0f);
    EXPECT_EQ(back[1], -2.5f);
    EXPECT_NEAR(back[2], 0.1f, 0.1f * 0x1p-8);
  }
  uint8_t byte = 0;
  float value = 0;
  EXPECT_EQ(ConvertToF32(DType::kI8, &byte, 1, &value).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ConvertFromF32(DType::kI8, &value, 1, &byte).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hone::model
