// The language-consistency reward of R1 (arXiv:2501.12948, section 2.3.2): the share of words in the target language.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "reward_server/rules/component.h"

namespace hone::reward {

// Words by language of a closed vocabulary, prepared for counting. Immutable after construction, thread-safe.
class WordLists {
 public:
  WordLists() = default;
  explicit WordLists(const std::map<std::string, std::vector<std::string>>& words_by_language);
  bool empty() const { return languages_.empty(); }
  bool Has(const std::string& language) const;
  // Languages that `word` belongs to, as indices; nullptr where none.
  const std::vector<int>* LanguagesOf(std::string_view word) const;
  int IndexOf(const std::string& language) const;  // -1 where absent

 private:
  std::vector<std::string> languages_;
  std::unordered_map<std::string, std::vector<int>> words_;
};

struct WordCount {
  int target = 0;
  int total = 0;
};

// By script: a run of Latin, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai or Hangul letters is a word, a single
// Han ideograph or kana is a word. Digits, tags (<think>, <|im_end|>), code (``` blocks and `spans`), math ($...$,
// $$...$$, \(...\),
// \[...\]) and LaTeX commands are not words. Which scripts are a language's: zh Han; ja Han and kana; ko Hangul; ru,
// uk, be, bg, sr, mk, kk Cyrillic; el Greek; ar, fa, ur Arabic; he, yi Hebrew; hi, mr, ne Devanagari; th Thai; any
// other Latin.
WordCount CountWordsByScript(std::string_view text, const std::string& language);

// By list: white-space separated tokens that a list holds; a word of several lists counts once.
WordCount CountWordsByList(std::string_view text, const std::string& language, const WordLists& lists);

// target / total; 0 where there is no word. Unscorable where the row names no language, or none that the lists know.
// With `think_only`, words are counted in the first think block alone. Linear in the text's length.
ComponentScore ScoreLanguage(std::string_view text, const std::string& language, const WordLists& lists,
                             bool think_only);

}  // namespace hone::reward
