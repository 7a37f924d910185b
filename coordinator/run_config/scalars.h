// The strict forms of numbers and durations in run files. Private to run_config; independent of the locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hone::internal {

struct IntegerText {
  bool negative = false;  // never with magnitude 0
  uint64_t magnitude = 0;
  bool overflow = false;  // the digits are fine, the number exceeds 64 bits
};
// [-+]digits without leading zeros. False for anything else.
bool ParseInteger(std::string_view text, IntegerText* value);

// [-+]digits[.digits][e[-+]digits], finite. False for anything else (.5, 5., inf, nan, hexadecimal, out of range).
bool ParseReal(std::string_view text, double* value);
// The shortest text that ParseReal reads back to the same bits. `value` must be finite.
std::string FormatReal(double value);

// [-] then one or more <integer><unit> with units h, m, s, ms, us, ns, each at most once, largest first; "0" alone is
// refused (no unit). At most 10,000 years, as protobuf's Duration allows.
bool ParseDuration(std::string_view text, int64_t* seconds, int32_t* nanos);
std::string FormatDuration(int64_t seconds, int32_t nanos);

}  // namespace hone::internal
