// UTF-8 by the character. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace hone {

// What an ill-formed byte reads as.
inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// Bytes of the well-formed character (no overlong form, no surrogate, at most U+10FFFF) that the non-empty `s` begins
// with, and its code point; 0 where it begins with none, and `*code_point` is U+FFFD.
size_t DecodeCharacter(std::string_view s, char32_t* code_point);

// The code point at `*at`, which must be inside of `s`, and moves `*at` behind it. An ill-formed byte is U+FFFD, one
// byte long.
char32_t NextCodePoint(std::string_view s, size_t* at);

// The longest prefix of `s` of at most `max_bytes` that does not end inside of a character.
std::string_view Utf8Prefix(std::string_view s, size_t max_bytes);

}  // namespace hone
