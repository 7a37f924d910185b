#include "model/tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>

namespace hone::model {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Code points that normalization form C leaves as they are, whatever stands beside them, unless that is itself outside
// these ranges: NFC_Quick_Check = Yes and combining class 0. Not all such code points, only the common blocks.
constexpr Range kNfcInert[] = {{0x0000, 0x02ff}, {0x0388, 0x03ff},  {0x0400, 0x0482}, {0x2002, 0x20cf},
                               {0x2100, 0x2125}, {0x212c, 0x2328},  {0x232b, 0x2adb}, {0x3000, 0x3029},
                               {0x3030, 0x3098}, {0x309b, 0x30ff},  {0x3400, 0x9fff}, {0xac00, 0xd7a3},
                               {0xff00, 0xffef}, {0x1f000, 0x1faff}};

bool IsNfcInert(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (static_cast<uint8_t>(text[i]) < 0xcc) {  // below U+0300, continuation bytes included
      ++i;
      continue;
    }
    const char32_t c = NextCodePoint(text, &i);
    bool inert = false;
    for (const Range& range : kNfcInert) inert |= c >= range.first && c <= range.last;
    if (!inert) return false;
  }
  return true;
}

// char of the alphabet -> byte, -1 elsewhere; the alphabet ends at U+0143.
const std::array<int16_t, 0x144>& ByteOfCharacter() {
  static const auto table = [] {
    std::array<int16_t, 0x144> result;
    result.fill(-1);
    for (int byte = 0; byte < 256; ++byte) result[ByteAlphabet()[byte]] = static_cast<int16_t>(byte);
    return result;
  }();
  return table;
}

}  // namespace

char32_t NextCodePoint(std::string_view text, size_t* position) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[*position + k]); };
  const uint8_t lead = byte(0);
  char32_t c = lead;
  size_t size = 1;
  if (lead >= 0xf0) {
    c = ((lead & 0x07u) << 18) | ((byte(1) & 0x3fu) << 12) | ((byte(2) & 0x3fu) << 6) | (byte(3) & 0x3fu);
    size = 4;
  } else if (lead >= 0xe0) {
    c = ((lead & 0x0fu) << 12) | ((byte(1) & 0x3fu) << 6) | (byte(2) & 0x3fu);
    size = 3;
  } else if (lead >= 0xc0) {
    c = ((lead & 0x1fu) << 6) | (byte(1) & 0x3fu);
    size = 2;
  }
  *position += size;
  return c;
}

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xc0 | (c >> 6)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | (c >> 12)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | (c >> 18)));
    out->push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

Utf8Front ReadUtf8Front(std::string_view bytes) {
  const uint8_t lead = static_cast<uint8_t>(bytes[0]);
  if (lead < 0x80) return {Utf8Kind::kCharacter, 1};
  if (lead < 0xc2 || lead > 0xf4) return {Utf8Kind::kIllFormed, 1};
  const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (size_t i = 1; i < size; ++i) {
    if (i >= bytes.size()) return {Utf8Kind::kIncomplete, i};
    const uint8_t byte = static_cast<uint8_t>(bytes[i]);
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (i == 1) {  // Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    }
    if (byte < low || byte > high) return {Utf8Kind::kIllFormed, i};
  }
  return {Utf8Kind::kCharacter, size};
}

std::string ToValidUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Front front = ReadUtf8Front(bytes);
    if (front.kind == Utf8Kind::kCharacter) {
      out.append(bytes.substr(0, front.size));
    } else {
      out.append("\xef\xbf\xbd");
    }
    bytes.remove_prefix(front.size);
  }
  return out;
}

bool IsWhitespace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool IsNumeric(char32_t c) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool IsWord(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:  // the symbols that are Alphabetic (circled and squared letters), and the joiners
      return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
             (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d;
  }
}

bool NormalizeNfc(std::string_view text, std::string* out) {
  if (IsNfcInert(text)) return false;
  utf8proc_uint8_t* normal = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &normal, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (size < 0) return false;  // only where memory is short or `text` is not UTF-8
  out->assign(reinterpret_cast<const char*>(normal), static_cast<size_t>(size));
  std::free(normal);
  return true;
}

const std::array<char32_t, 256>& ByteAlphabet() {
  static const auto table = [] {
    std::array<char32_t, 256> result{};
    char32_t next = 256;  // bytes that do not print are numbered from here
    for (int byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      result[byte] = prints ? static_cast<char32_t>(byte) : next++;
    }
    return result;
  }();
  return table;
}

void AppendByteLevel(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) AppendUtf8(ByteAlphabet()[static_cast<uint8_t>(byte)], out);
}

std::string BytesOfPiece(std::string_view piece) {
  std::string bytes;
  for (size_t i = 0; i < piece.size();) {
    const char32_t c = NextCodePoint(piece, &i);
    const int16_t byte = c < ByteOfCharacter().size() ? ByteOfCharacter()[c] : int16_t{-1};
    if (byte < 0) return std::string(piece);
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

}  // namespace hone::model
