// The little that scoring needs to know of Unicode: the script of a letter, and the ASCII classes. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace hone::reward {

enum class Script { kNone, kLatin, kHan, kKana, kHangul, kCyrillic, kGreek, kArabic, kHebrew, kDevanagari, kThai };

// The script of a letter; kNone for digits, punctuation, symbols and scripts not listed.
Script ScriptOf(char32_t code_point);

inline bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }
inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
inline bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Without ASCII white space at both ends.
std::string_view Trim(std::string_view text);

}  // namespace hone::reward
