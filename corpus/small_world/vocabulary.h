// The small world's 54 words. A word's id is its place in SmallWorldVocabulary().
#pragma once

#include <string>
#include <vector>

namespace hone::corpus {

enum class Language { kEnglish = 0, kChinese = 1 };

// Words that exist in both languages, 1:1.
enum class Word { kPlus = 0, kMinus, kTimes, kIs, kSo, kWait, kHello, kThanks };
inline constexpr int kWordCount = 8;
inline constexpr int kLetterCount = 8;  // a-h
inline constexpr int kNameCount = 4;

// <pad> <eos> <think> </think> <answer> </answer> <en> <zh>, 0-9, + - * =, English words, Chinese words, letters,
// names, tasks.
const std::vector<std::string>& SmallWorldVocabulary();

const std::string& WordText(Word word, Language language);
const std::string& LanguageTag(Language language);   // "<en>", "<zh>"
const std::string& LanguageName(Language language);  // "en", "zh" (BCP-47)
std::string LetterText(int letter);                  // 0..7
const std::string& NameText(int name);               // 0..3
inline Language Other(Language l) { return l == Language::kEnglish ? Language::kChinese : Language::kEnglish; }

}  // namespace hone::corpus
