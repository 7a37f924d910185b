#include "reward_server/rules/language.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "reward_server/rules/completion_text.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

constexpr uint32_t Bit(Script script) { return 1u << static_cast<int>(script); }

uint32_t ScriptsOf(const std::string& language) {
  struct Entry {
    std::string_view language;
    uint32_t scripts;
  };
  constexpr Entry kEntries[] = {
      {"zh", Bit(Script::kHan)},        {"ja", Bit(Script::kHan) | Bit(Script::kKana)},
      {"ko", Bit(Script::kHangul)},     {"ru", Bit(Script::kCyrillic)},
      {"uk", Bit(Script::kCyrillic)},   {"be", Bit(Script::kCyrillic)},
      {"bg", Bit(Script::kCyrillic)},   {"sr", Bit(Script::kCyrillic)},
      {"mk", Bit(Script::kCyrillic)},   {"kk", Bit(Script::kCyrillic)},
      {"el", Bit(Script::kGreek)},      {"ar", Bit(Script::kArabic)},
      {"fa", Bit(Script::kArabic)},     {"ur", Bit(Script::kArabic)},
      {"he", Bit(Script::kHebrew)},     {"yi", Bit(Script::kHebrew)},
      {"hi", Bit(Script::kDevanagari)}, {"mr", Bit(Script::kDevanagari)},
      {"ne", Bit(Script::kDevanagari)}, {"th", Bit(Script::kThai)},
  };
  for (const Entry& entry : kEntries) {
    if (entry.language == language) return entry.scripts;
  }
  return Bit(Script::kLatin);
}

// Skips what is not prose. Each kind of delimiter that was once searched for in vain is not searched for again (in the
// text, or in the line, as far as it reaches), so that many opening delimiters without a closing one cost one search.
class ProseScanner {
 public:
  explicit ProseScanner(std::string_view text) : text_(text) {}

  // Behind the tag, code, math or LaTeX command at `at`; `at` itself where prose stands there.
  size_t Skip(size_t at) {
    switch (text_[at]) {
      case '<':
        return SkipTag(text_, at);
      case '`':
        return SkipCode(at);
      case '$':
        return SkipDollars(at);
      case '\\':
        return SkipBackslash(at);
      default:
        return at;
    }
  }

 private:
  bool At(size_t at, std::string_view what) const { return text_.compare(at, what.size(), what) == 0; }

  // Behind the next `close` from `from` on; npos where there is none.
  size_t Behind(std::string_view close, size_t from, size_t* none_from) {
    if (from >= *none_from) return std::string_view::npos;
    const size_t found = text_.find(close, from);
    if (found == std::string_view::npos) {
      *none_from = from;
      return found;
    }
    return found + close.size();
  }
  size_t LineEnd(size_t at) {
    if (at >= line_end_) line_end_ = std::min(text_.find('\n', at), text_.size());
    return line_end_;
  }

  size_t SkipCode(size_t at) {
    if (At(at, "```")) {
      const size_t end = Behind("```", at + 3, &no_fence_from_);
      return end == std::string_view::npos ? text_.size() : end;  // a block cut off is code to its end
    }
    if (at < no_tick_until_) return at;
    const size_t line_end = LineEnd(at);
    const size_t close = text_.find('`', at + 1);
    if (close < line_end) return close + 1;
    no_tick_until_ = line_end;
    return at;
  }
  // Inline math as Pandoc reads it: no white space behind the opening sign or before the closing one, no digit behind
  // the closing one, one line; so that "$5 and $6" is money.
  size_t SkipDollars(size_t at) {
    if (At(at, "$$")) {
      const size_t end = Behind("$$", at + 2, &no_display_from_);
      return end == std::string_view::npos ? at : end;
    }
    if (at < no_dollar_until_ || at + 1 >= text_.size() || IsSpace(text_[at + 1])) return at;
    const size_t line_end = LineEnd(at);
    for (size_t close = text_.find('$', at + 2); close < line_end; close = text_.find('$', close + 1)) {
      const bool digit_follows = close + 1 < text_.size() && IsDigit(text_[close + 1]);
      if (!IsSpace(text_[close - 1]) && !digit_follows) return close + 1;
    }
    no_dollar_until_ = line_end;
    return at;
  }
  size_t SkipBackslash(size_t at) {
    if (At(at, "\\(") || At(at, "\\[")) {
      const bool round = text_[at + 1] == '(';
      const size_t end = round ? Behind("\\)", at + 2, &no_round_from_) : Behind("\\]", at + 2, &no_square_from_);
      return end == std::string_view::npos ? at : end;
    }
    size_t end = at + 1;
    while (end < text_.size() && IsAsciiLetter(text_[end])) ++end;
    return end;
  }

  const std::string_view text_;
  size_t line_end_ = 0;
  size_t no_fence_from_ = std::string_view::npos;
  size_t no_display_from_ = std::string_view::npos;
  size_t no_round_from_ = std::string_view::npos;
  size_t no_square_from_ = std::string_view::npos;
  size_t no_tick_until_ = 0;
  size_t no_dollar_until_ = 0;
};

bool IsSingleCharacterWord(Script script) { return script == Script::kHan || script == Script::kKana; }

}  // namespace

WordLists::WordLists(const std::map<std::string, std::vector<std::string>>& words_by_language) {
  for (const auto& [language, words] : words_by_language) {
    const int index = static_cast<int>(languages_.size());
    languages_.push_back(language);
    for (const std::string& word : words) {
      std::vector<int>& languages = words_[word];
      if (languages.empty() || languages.back() != index) languages.push_back(index);
    }
  }
}

int WordLists::IndexOf(const std::string& language) const {
  const auto it = std::find(languages_.begin(), languages_.end(), language);
  return it == languages_.end() ? -1 : static_cast<int>(it - languages_.begin());
}

bool WordLists::Has(const std::string& language) const { return IndexOf(language) >= 0; }

const std::vector<int>* WordLists::LanguagesOf(std::string_view word) const {
  const auto it = words_.find(std::string(word));
  return it == words_.end() ? nullptr : &it->second;
}

WordCount CountWordsByScript(std::string_view text, const std::string& language) {
  const uint32_t scripts = ScriptsOf(language);
  ProseScanner scanner(text);
  WordCount count;
  Script run = Script::kNone;  // of the word that the scan is inside of
  for (size_t at = 0; at < text.size();) {
    if (const size_t behind = scanner.Skip(at); behind != at) {
      at = behind;
      run = Script::kNone;
      continue;
    }
    const Script script = ScriptOf(NextCodePoint(text, &at));
    if (script != Script::kNone && (script != run || IsSingleCharacterWord(script))) {
      ++count.total;
      if ((scripts & Bit(script)) != 0) ++count.target;
    }
    run = script;
  }
  return count;
}

WordCount CountWordsByList(std::string_view text, const std::string& language, const WordLists& lists) {
  const int target = lists.IndexOf(language);
  WordCount count;
  for (size_t at = 0; at < text.size();) {
    if (IsSpace(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && !IsSpace(text[end])) ++end;
    if (const std::vector<int>* languages = lists.LanguagesOf(text.substr(at, end - at))) {
      ++count.total;
      if (std::find(languages->begin(), languages->end(), target) != languages->end()) ++count.target;
    }
    at = end;
  }
  return count;
}

ComponentScore ScoreLanguage(std::string_view text, const std::string& language, const WordLists& lists,
                             bool think_only) {
  if (language.empty()) return Unscorable("the row names no language");
  if (!lists.empty() && !lists.Has(language))
    return Unscorable(absl::StrCat("there is no word list for language '", language, "'"));
  if (think_only) {
    text = ThinkBlock(text);
    if (text.data() == nullptr) return Scored(0, "there is no think block");
  }
  const WordCount count = lists.empty() ? CountWordsByScript(text, language) : CountWordsByList(text, language, lists);
  if (count.total == 0) return Scored(0, "no word of a known language");
  return Scored(static_cast<double>(count.target) / count.total,
                absl::StrFormat("%d of %d words are in '%s'", count.target, count.total, language));
}

}  // namespace hone::reward
