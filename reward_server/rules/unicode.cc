#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

struct Range {
  char32_t first, last;
  Script script;
};

// Letters by block; where a block also holds signs (U+00D7, U+00F7), they are cut out.
constexpr Range kRanges[] = {
    {U'A', U'Z', Script::kLatin},      {U'a', U'z', Script::kLatin},        {0xC0, 0xD6, Script::kLatin},
    {0xD8, 0xF6, Script::kLatin},      {0xF8, 0x24F, Script::kLatin},       {0x370, 0x3FF, Script::kGreek},
    {0x400, 0x52F, Script::kCyrillic}, {0x5D0, 0x5EA, Script::kHebrew},     {0x620, 0x64A, Script::kArabic},
    {0x66E, 0x6D3, Script::kArabic},   {0x900, 0x963, Script::kDevanagari}, {0x971, 0x97F, Script::kDevanagari},
    {0xE01, 0xE3A, Script::kThai},     {0xE40, 0xE4E, Script::kThai},       {0x1100, 0x11FF, Script::kHangul},
    {0x1E00, 0x1EFF, Script::kLatin},  {0x1F00, 0x1FFF, Script::kGreek},    {0x3041, 0x3096, Script::kKana},
    {0x30A1, 0x30FA, Script::kKana},   {0x3400, 0x4DBF, Script::kHan},      {0x4E00, 0x9FFF, Script::kHan},
    {0xAC00, 0xD7A3, Script::kHangul}, {0xF900, 0xFAFF, Script::kHan},      {0x20000, 0x323AF, Script::kHan},
};

}  // namespace

Script ScriptOf(char32_t code_point) {
  for (const Range& range : kRanges) {
    if (code_point < range.first) return Script::kNone;
    if (code_point <= range.last) return range.script;
  }
  return Script::kNone;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace hone::reward
