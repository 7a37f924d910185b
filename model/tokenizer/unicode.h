// UTF-8 and the few Unicode properties that tokenizers split by. Text here is valid UTF-8 unless said otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hone::model {

// The code point at `text[*position]`, which moves behind it. `text` must be valid UTF-8 and *position < text.size().
char32_t NextCodePoint(std::string_view text, size_t* position);
void AppendUtf8(char32_t code_point, std::string* out);

// What the front of a byte string holds.
enum class Utf8Kind {
  kCharacter,   // `size` bytes that are one character
  kIllFormed,   // `size` bytes that can not begin any character: a maximal ill-formed subsequence (Unicode 15, 3.9,
                // D93b)
  kIncomplete,  // all `size` bytes left begin a character whose end is missing
};
struct Utf8Front {
  Utf8Kind kind;
  size_t size;
};
// `bytes` may be anything but empty.
Utf8Front ReadUtf8Front(std::string_view bytes);
// `bytes` with U+FFFD in place of each maximal ill-formed subsequence, an incomplete end included.
std::string ToValidUtf8(std::string_view bytes);

bool IsWhitespace(char32_t c);  // White_Space
bool IsNumeric(char32_t c);     // general categories Nd, Nl, No
bool IsWord(char32_t c);        // Alphabetic, M, Nd, Pc, Join_Control: \w of Unicode's UTS #18, annex C

// Normalization form C. False, and `out` untouched, where `text` is seen to be normal already.
bool NormalizeNfc(std::string_view text, std::string* out);

// GPT-2's map of bytes to printable characters, in which byte-level vocabularies are written.
const std::array<char32_t, 256>& ByteAlphabet();
void AppendByteLevel(std::string_view bytes, std::string* out);
// The bytes that `piece` stands for; where one of its characters is outside the alphabet, `piece` itself, as
// `tokenizers` has it.
std::string BytesOfPiece(std::string_view piece);

}  // namespace hone::model
