// Whole numbers of any size: just enough to compare fractions exactly. Costs grow with the product of the lengths;
// callers bound the number of digits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::reward {

class BigUnsigned {
 public:
  BigUnsigned() = default;  // 0
  // `digits`: ASCII decimal digits only; leading zeros are fine, "" is 0.
  explicit BigUnsigned(std::string_view digits);

  bool IsZero() const { return limbs_.empty(); }
  BigUnsigned operator*(const BigUnsigned& other) const;
  BigUnsigned operator+(const BigUnsigned& other) const;
  bool operator==(const BigUnsigned& other) const = default;
  static BigUnsigned PowerOfTen(int exponent);

 private:
  void Trim();
  std::vector<uint32_t> limbs_;  // base 10^9, least first, no zeros at the end
};

}  // namespace hone::reward
