// Whether the equations that a completion writes down are right, one by one: a judge of steps by rule.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "reward_server/rules/component.h"

namespace hone::reward {

// Reads `a op b ... = c op d ...` in whole numbers, op one of + - * /, with the usual precedence. An expression with
// brackets, decimals, letters or a sign before its first number (but behind an equals sign) is passed over. Immutable,
// thread-safe.
class ArithmeticRule {
 public:
  // `words` are other spellings of + - * / = ("plus": "+", "加": "+"); × · ÷ − are known. `modulus` > 0: both sides are
  // compared modulo it.
  ArithmeticRule(const std::map<std::string, std::string>& words, int64_t modulus);

  // One step for each equation: 1 where both sides are equal, 0 where they are not (a division that leaves a rest, a
  // result beyond 64 bits included). The value is their mean, 0 where the text has no equation. Linear in the text's
  // length.
  ComponentScore Score(std::string_view text) const;

 private:
  std::map<std::string, char, std::less<>> words_;
  int64_t modulus_;
};

}  // namespace hone::reward
