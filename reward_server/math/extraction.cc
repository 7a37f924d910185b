#include "reward_server/math/extraction.h"

#include <cstddef>
#include <vector>

#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

constexpr std::string_view kOpen = "<answer>", kClose = "</answer>";

// Position behind the brace that closes the one at `open`, or npos. `open` must be '{'.
size_t BalancedEnd(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;  // an escaped character, brace or not
    } else if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

std::string_view Unwrapped(std::string_view content) {
  content = Trim(content);
  constexpr std::string_view kText = "\\text{";
  while (content.substr(0, kText.size()) == kText && BalancedEnd(content, kText.size() - 1) == content.size()) {
    content = Trim(content.substr(kText.size(), content.size() - kText.size() - 1));
  }
  if (content.size() == 3 && content[0] == '(' && IsAsciiLetter(content[1]) && content[2] == ')')
    return content.substr(1, 1);
  return content;
}

// Behind the digits and thousands separators that begin at `at`.
size_t SkipWhole(std::string_view text, size_t at) {
  const auto digit = [&](size_t i) { return i < text.size() && IsDigit(text[i]); };
  const size_t begin = at;
  while (digit(at)) ++at;
  if (at - begin > 3) return at;
  while (at < text.size() && text[at] == ',' && digit(at + 1) && digit(at + 2) && digit(at + 3) && !digit(at + 4))
    at += 4;
  return at;
}

// Behind the unsigned decimal that begins at `at` with a digit or with a point before a digit.
size_t SkipDecimal(std::string_view text, size_t at) {
  const auto digit = [&](size_t i) { return i < text.size() && IsDigit(text[i]); };
  at = SkipWhole(text, at);
  if (at < text.size() && text[at] == '.' && digit(at + 1)) {
    ++at;
    while (digit(at)) ++at;
  }
  return at;
}

bool StartsDecimal(std::string_view text, size_t at) {
  if (at < text.size() && IsDigit(text[at])) return true;
  return at + 1 < text.size() && text[at] == '.' && IsDigit(text[at + 1]);
}

// Behind "{...}" holding a signed decimal alone, at `at`; 0 where there is none.
size_t SkipBracedDecimal(std::string_view text, size_t at) {
  if (at >= text.size() || text[at] != '{') return 0;
  ++at;
  if (at < text.size() && text[at] == '-') ++at;
  if (!StartsDecimal(text, at)) return 0;
  at = SkipDecimal(text, at);
  return at < text.size() && text[at] == '}' ? at + 1 : 0;
}

// Behind \frac{a}{b} (also \dfrac, \tfrac) at `at`; 0 where there is none.
size_t SkipLatexFraction(std::string_view text, size_t at) {
  for (const std::string_view command : {"\\frac", "\\dfrac", "\\tfrac"}) {
    if (text.compare(at, command.size(), command) != 0) continue;
    const size_t middle = SkipBracedDecimal(text, at + command.size());
    return middle == 0 ? 0 : SkipBracedDecimal(text, middle);
  }
  return 0;
}

// Behind the number (decimal, fraction, percent) at `at`; 0 where there is none.
size_t SkipNumber(std::string_view text, size_t at) {
  if (at < text.size() && text[at] == '\\') return SkipLatexFraction(text, at);
  if (!StartsDecimal(text, at)) return 0;
  size_t end = SkipDecimal(text, at);
  if (end + 1 < text.size() && text[end] == '/' && IsDigit(text[end + 1])) end = SkipDecimal(text, end + 1);
  if (end < text.size() && text[end] == '%') ++end;
  if (text.compare(end, 2, "\\%") == 0) end += 2;
  return end;
}

// Length of a minus sign that ends at `end`: 1, 3 (U+2212) or 0.
size_t MinusBefore(std::string_view text, size_t end) {
  if (end >= 1 && text[end - 1] == '-') return 1;
  return end >= 3 && text.substr(end - 3, 3) == "\u2212" ? 3 : 0;
}

// A character that makes digits behind it a part of a word, or a minus before them a subtraction.
bool IsWordByte(char c) { return IsAsciiLetter(c) || IsDigit(c) || c == '_' || c == ')' || c == '}'; }

}  // namespace

std::optional<std::string_view> ExtractAnswerTag(std::string_view text) {
  const size_t last_close = text.rfind(kClose);
  if (last_close == std::string_view::npos) return std::nullopt;
  const size_t open = text.rfind(kOpen, last_close);
  if (open == std::string_view::npos) return std::nullopt;
  const size_t begin = open + kOpen.size();
  return text.substr(begin, text.find(kClose, begin) - begin);
}

std::optional<std::string_view> ExtractBoxed(std::string_view text) {
  // One pass with a stack: each open brace remembers whether \boxed stood before it.
  struct Brace {
    size_t content;
    bool boxed;
  };
  std::vector<Brace> open;
  std::optional<std::string_view> last;
  size_t last_begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      const bool boxed = text.compare(i, 7, "\\boxed{") == 0;
      const bool fbox = text.compare(i, 6, "\\fbox{") == 0;
      if (boxed || fbox) {
        i += boxed ? 6 : 5;  // onto the brace
        open.push_back({i + 1, true});
      } else {
        ++i;  // an escaped character
      }
    } else if (text[i] == '{') {
      open.push_back({i + 1, false});
    } else if (text[i] == '}' && !open.empty()) {
      const Brace brace = open.back();
      open.pop_back();
      if (brace.boxed && (!last || brace.content >= last_begin)) {
        last_begin = brace.content;
        last = text.substr(brace.content, i - brace.content);
      }
    }
  }
  if (!last) return std::nullopt;
  return Unwrapped(*last);
}

std::optional<std::string_view> ExtractLastNumber(std::string_view text) {
  std::optional<std::string_view> last;
  for (size_t at = 0; at < text.size();) {
    const size_t end = SkipNumber(text, at);
    if (end == 0) {
      ++at;
      continue;
    }
    size_t begin = at;
    const size_t minus = MinusBefore(text, at);
    const bool negative = minus > 0 && (at == minus || !IsWordByte(text[at - minus - 1]));
    if (negative) begin -= minus;
    if (begin == 0 || negative || !(IsAsciiLetter(text[begin - 1]) || text[begin - 1] == '_')) {
      last = text.substr(begin, end - begin);
    }
    at = end;
  }
  return last;
}

}  // namespace hone::reward
