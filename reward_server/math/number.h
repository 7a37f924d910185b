// Numbers as people and models write them in answers, compared exactly: no floating point, so 0.1 + 0.2 is 0.3 and
// 12345678901234567890 differs from its neighbour.
//
// Read: integers, decimals (.5, 5.), an exponent (1.5e3), thousands separators (1,234 and LaTeX's 1{,}234: groups of
// three), signs (also U+2212), fractions (3/4, \frac{3}{4}, \frac34, \dfrac, \tfrac) and mixed numbers (1 3/4,
// 1\frac{3}{4}), percent, currency signs before and units after (5 apples, 12 km/h, 9 m^2, 90^\circ, 30\text{ cm}, 5
// 元), `x =` before, LaTeX's dollar signs around, a full stop at the end. Not read, because they would be another
// number: scale words (5 million, 5万), variables (5x, 5\pi), lists and expressions.
#pragma once

#include <optional>
#include <string_view>

#include "reward_server/math/big_unsigned.h"

namespace hone::reward {

// (-1)^negative * numerator / denominator.
struct Number {
  bool negative = false;
  BigUnsigned numerator;
  BigUnsigned denominator;  // never 0
  bool percent = false;     // written with a percent sign, which the fraction does not contain
};

// nullopt: not one number, or one of more than 300 digits. Linear in the text's length; texts beyond 2,000 bytes are
// refused.
std::optional<Number> ParseNumber(std::string_view text);

// Equal values. Where exactly one of the two has a percent sign, it may be a factor (50% = 0.5) or a unit (50% = 50).
bool SameNumber(const Number& a, const Number& b);

}  // namespace hone::reward
