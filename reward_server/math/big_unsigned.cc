#include "reward_server/math/big_unsigned.h"

#include <algorithm>

namespace hone::reward {
namespace {
constexpr uint64_t kBase = 1'000'000'000;
constexpr size_t kDigitsPerLimb = 9;
}  // namespace

BigUnsigned::BigUnsigned(std::string_view digits) {
  for (size_t end = digits.size(); end > 0;) {
    const size_t begin = end > kDigitsPerLimb ? end - kDigitsPerLimb : 0;
    uint32_t limb = 0;
    for (size_t i = begin; i < end; ++i) limb = limb * 10 + static_cast<uint32_t>(digits[i] - '0');
    limbs_.push_back(limb);
    end = begin;
  }
  Trim();
}

void BigUnsigned::Trim() {
  while (!limbs_.empty() && limbs_.back() == 0) limbs_.pop_back();
}

BigUnsigned BigUnsigned::operator*(const BigUnsigned& other) const {
  BigUnsigned product;
  product.limbs_.assign(limbs_.size() + other.limbs_.size() + 1, 0);
  for (size_t i = 0; i < limbs_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < other.limbs_.size() || carry > 0; ++j) {
      const uint64_t factor = j < other.limbs_.size() ? other.limbs_[j] : 0;
      const uint64_t sum = product.limbs_[i + j] + limbs_[i] * factor + carry;
      product.limbs_[i + j] = static_cast<uint32_t>(sum % kBase);
      carry = sum / kBase;
    }
  }
  product.Trim();
  return product;
}

BigUnsigned BigUnsigned::operator+(const BigUnsigned& other) const {
  BigUnsigned sum;
  uint64_t carry = 0;
  for (size_t i = 0; i < std::max(limbs_.size(), other.limbs_.size()) || carry > 0; ++i) {
    carry += (i < limbs_.size() ? limbs_[i] : 0) + uint64_t{i < other.limbs_.size() ? other.limbs_[i] : 0};
    sum.limbs_.push_back(static_cast<uint32_t>(carry % kBase));
    carry /= kBase;
  }
  return sum;
}

BigUnsigned BigUnsigned::PowerOfTen(int exponent) {
  return BigUnsigned("1" + std::string(static_cast<size_t>(exponent), '0'));
}

}  // namespace hone::reward
