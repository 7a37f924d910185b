#include "corpus/small_world/vocabulary.h"

#include <array>

namespace hone::corpus {
namespace {

const std::array<std::array<std::string, kWordCount>, 2>& Words() {
  static const auto* const kWords = new std::array<std::array<std::string, kWordCount>, 2>{
      {{"plus", "minus", "times", "is", "so", "wait", "hello", "thanks"},
       {"加", "减", "乘", "得", "所以", "等", "你好", "谢谢"}}};
  return *kWords;
}

const std::array<std::string, kNameCount>& Names() {
  static const auto* const kNames = new std::array<std::string, kNameCount>{{"Ann", "Bob", "Li", "Wu"}};
  return *kNames;
}

std::vector<std::string> MakeVocabulary() {
  std::vector<std::string> v = {"<pad>", "<eos>", "<think>", "</think>", "<answer>", "</answer>", "<en>", "<zh>"};
  for (int d = 0; d < 10; ++d) v.push_back(std::to_string(d));
  for (const char* symbol : {"+", "-", "*", "="}) v.push_back(symbol);
  for (const auto& words : Words()) v.insert(v.end(), words.begin(), words.end());
  for (int i = 0; i < kLetterCount; ++i) v.push_back(LetterText(i));
  v.insert(v.end(), Names().begin(), Names().end());
  for (const char* task : {"greet", "echo", "sort", "rev"}) v.push_back(task);
  return v;
}

}  // namespace

const std::vector<std::string>& SmallWorldVocabulary() {
  static const auto* const kVocabulary = new std::vector<std::string>(MakeVocabulary());
  return *kVocabulary;
}

const std::string& WordText(Word word, Language language) {
  return Words()[static_cast<size_t>(language)][static_cast<size_t>(word)];
}

const std::string& LanguageTag(Language language) {
  static const auto* const kTags = new std::array<std::string, 2>{{"<en>", "<zh>"}};
  return (*kTags)[static_cast<size_t>(language)];
}

const std::string& LanguageName(Language language) {
  static const auto* const kNames = new std::array<std::string, 2>{{"en", "zh"}};
  return (*kNames)[static_cast<size_t>(language)];
}

std::string LetterText(int letter) { return std::string(1, static_cast<char>('a' + letter)); }

const std::string& NameText(int name) { return Names()[static_cast<size_t>(name)]; }

}  // namespace hone::corpus
