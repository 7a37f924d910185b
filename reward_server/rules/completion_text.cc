#include "reward_server/rules/completion_text.h"

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

constexpr size_t kMaxTagBytes = 64;
constexpr size_t kMaxQuotedBytes = 60;
constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";

bool IsBlockTag(std::string_view piece) {
  return piece == kThinkOpen || piece == kThinkClose || piece == "<answer>" || piece == "</answer>";
}

}  // namespace

size_t SkipTag(std::string_view text, size_t at) {
  if (at >= text.size() || text[at] != '<') return at;
  for (size_t i = at + 1; i < text.size() && i <= at + kMaxTagBytes + 1; ++i) {
    if (text[i] == '>') return i > at + 1 ? i + 1 : at;
    if (text[i] == '<' || IsSpace(text[i])) return at;
  }
  return at;
}

std::string_view WithoutEndToken(std::string_view text, Finish finish) {
  if (finish != Finish::kBySelf) return text;
  const std::string_view trimmed = Trim(text);
  if (trimmed.empty() || trimmed.back() != '>') return text;
  const size_t open = trimmed.rfind('<');
  if (open == std::string_view::npos || SkipTag(trimmed, open) != trimmed.size()) return text;
  if (IsBlockTag(trimmed.substr(open))) return text;
  return trimmed.substr(0, open);
}

int CountUpToTwo(std::string_view text, std::string_view tag) {
  const size_t first = text.find(tag);
  if (first == std::string_view::npos) return 0;
  return text.find(tag, first + tag.size()) == std::string_view::npos ? 1 : 2;
}

std::string_view ThinkBlock(std::string_view text) {
  const size_t open = text.find(kThinkOpen);
  const size_t begin = open == std::string_view::npos ? 0 : open + kThinkOpen.size();
  const size_t close = text.find(kThinkClose, begin);
  if (open == std::string_view::npos && close == std::string_view::npos) return {};
  return text.substr(begin, close == std::string_view::npos ? std::string_view::npos : close - begin);
}

std::string Quoted(std::string_view text) {
  text = Trim(text);
  if (text.size() <= kMaxQuotedBytes) return absl::StrCat("'", ToAbsl(text), "'");
  return absl::StrCat("'", ToAbsl(Utf8Prefix(text, kMaxQuotedBytes)), "…'");
}

}  // namespace hone::reward
