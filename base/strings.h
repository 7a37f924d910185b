// The one bridge between std::string_view and Abseil's own string view (Debian builds Abseil with a distinct type), and
// the few text helpers that several folders need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"

namespace hone {

inline absl::string_view ToAbsl(std::string_view s) { return absl::string_view(s.data(), s.size()); }
inline std::string_view FromAbsl(absl::string_view s) { return std::string_view(s.data(), s.size()); }

// Lower-case hexadecimal of `bytes`.
std::string ToHex(std::string_view bytes);

// True where `s` is well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF).
bool IsValidUtf8(std::string_view s);

// `s` with U+FFFD in place of each byte that is not part of well-formed UTF-8: for text that quotes foreign bytes.
std::string MendUtf8(std::string_view s);

// Edit distance between `a` and `b` (insert, delete, replace, swap of neighbours each cost 1).
int EditDistance(std::string_view a, std::string_view b);

// The candidate nearest to `word` where it is near enough to be a likely typing error (distance at most 1 + size/4),
// else "".
std::string NearestName(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace hone
