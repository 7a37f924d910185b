#include "base/utf8.h"

#include <cstdint>

namespace hone {

size_t DecodeCharacter(std::string_view s, char32_t* code_point) {
  const auto* p = reinterpret_cast<const unsigned char*>(s.data());
  *code_point = *p;
  if (*p < 0x80) return 1;
  size_t length;
  uint32_t code;
  *code_point = kReplacementCharacter;
  if ((*p & 0xE0) == 0xC0) {
    length = 2;
    code = *p & 0x1F;
  } else if ((*p & 0xF0) == 0xE0) {
    length = 3;
    code = *p & 0x0F;
  } else if ((*p & 0xF8) == 0xF0) {
    length = 4;
    code = *p & 0x07;
  } else {
    return 0;
  }
  if (s.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
    code = (code << 6) | (p[i] & 0x3F);
  }
  static constexpr uint32_t kSmallest[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
  *code_point = code;
  return length;
}

char32_t NextCodePoint(std::string_view s, size_t* at) {
  char32_t code_point;
  const size_t size = DecodeCharacter(s.substr(*at), &code_point);
  *at += size == 0 ? 1 : size;
  return code_point;
}

std::string_view Utf8Prefix(std::string_view s, size_t max_bytes) {
  if (s.size() <= max_bytes) return s;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xC0) == 0x80) --end;
  return s.substr(0, end);
}

}  // namespace hone
