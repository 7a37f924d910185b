#include "coordinator/run_config/scalars.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hone::internal {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The number of digits at the start of `text`.
size_t CountDigits(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && IsDigit(text[n])) ++n;
  return n;
}

struct Unit {
  std::string_view name;
  uint64_t nanos;
};
constexpr std::array<Unit, 6> kUnits = {{{"h", 3'600'000'000'000},
                                         {"m", 60'000'000'000},
                                         {"s", 1'000'000'000},
                                         {"ms", 1'000'000},
                                         {"us", 1'000},
                                         {"ns", 1}}};
constexpr uint64_t kMaxDurationSeconds = 315'576'000'000;  // google/protobuf/duration.proto

}  // namespace

bool ParseInteger(std::string_view text, IntegerText* value) {
  *value = {};
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || CountDigits(text) != text.size() || (text.size() > 1 && text[0] == '0')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value->magnitude);
  value->overflow = error != std::errc();
  value->negative = negative && value->magnitude != 0;
  return true;
}

bool ParseReal(std::string_view text, double* value) {
  const bool plus = !text.empty() && text[0] == '+';
  if (plus) text.remove_prefix(1);
  std::string_view rest = text;
  if (!plus && !rest.empty() && rest[0] == '-') rest.remove_prefix(1);
  const size_t whole = CountDigits(rest);
  if (whole == 0) return false;
  rest.remove_prefix(whole);
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    const size_t fraction = CountDigits(rest);
    if (fraction == 0) return false;
    rest.remove_prefix(fraction);
  }
  if (!rest.empty() && (rest[0] == 'e' || rest[0] == 'E')) {
    rest.remove_prefix(1);
    if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.remove_prefix(1);
    const size_t exponent = CountDigits(rest);
    if (exponent == 0) return false;
    rest.remove_prefix(exponent);
  }
  if (!rest.empty()) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(*value);
}

std::string FormatReal(double value) {
  constexpr double kPlain = 1e15;  // whole numbers below it are exact, and shorter without an exponent
  if (std::abs(value) < kPlain && value == std::trunc(value)) return absl::StrFormat("%.0f", value);
  // 17 digits always read back to the same bits; fewer mostly do.
  std::string text;
  for (int digits = 1; digits <= 17; ++digits) {
    text = absl::StrFormat("%.*g", digits, value);
    double back = 0;
    if (ParseReal(text, &back) && std::bit_cast<uint64_t>(back) == std::bit_cast<uint64_t>(value)) break;
  }
  return text;
}

bool ParseDuration(std::string_view text, int64_t* seconds, int32_t* nanos) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty()) return false;
  uint64_t total_seconds = 0;
  uint64_t total_nanos = 0;  // under a second from each unit, so it cannot overflow
  size_t next_unit = 0;
  while (!text.empty()) {
    const size_t digits = CountDigits(text);
    uint64_t count = 0;
    if (digits == 0 || std::from_chars(text.data(), text.data() + digits, count).ec != std::errc()) return false;
    text.remove_prefix(digits);
    size_t letters = 0;
    while (letters < text.size() && !IsDigit(text[letters])) ++letters;
    size_t unit = next_unit;
    while (unit < kUnits.size() && kUnits[unit].name != text.substr(0, letters)) ++unit;
    if (unit == kUnits.size()) return false;
    text.remove_prefix(letters);
    next_unit = unit + 1;
    constexpr uint64_t kSecond = 1'000'000'000;
    if (kUnits[unit].nanos >= kSecond) {
      if (count > kMaxDurationSeconds) return false;
      total_seconds += count * (kUnits[unit].nanos / kSecond);
    } else {
      const uint64_t per_second = kSecond / kUnits[unit].nanos;
      if (count / per_second > kMaxDurationSeconds) return false;
      total_seconds += count / per_second;
      total_nanos += count % per_second * kUnits[unit].nanos;
    }
  }
  total_seconds += total_nanos / 1'000'000'000;
  total_nanos %= 1'000'000'000;
  if (total_seconds > kMaxDurationSeconds) return false;
  *seconds = negative ? -static_cast<int64_t>(total_seconds) : static_cast<int64_t>(total_seconds);
  *nanos = negative ? -static_cast<int32_t>(total_nanos) : static_cast<int32_t>(total_nanos);
  return true;
}

std::string FormatDuration(int64_t seconds, int32_t nanos) {
  if (seconds == 0 && nanos == 0) return "0s";
  std::string text = seconds < 0 || nanos < 0 ? "-" : "";
  uint64_t whole = static_cast<uint64_t>(std::llabs(seconds));
  uint64_t rest = static_cast<uint64_t>(std::abs(nanos));
  for (const Unit& unit : kUnits) {
    uint64_t count = 0;
    if (unit.nanos >= 1'000'000'000) {
      count = whole / (unit.nanos / 1'000'000'000);
      whole %= unit.nanos / 1'000'000'000;
    } else {
      count = rest / unit.nanos;
      rest %= unit.nanos;
    }
    if (count != 0) absl::StrAppend(&text, count, std::string(unit.name));
  }
  return text;
}

}  // namespace hone::internal
