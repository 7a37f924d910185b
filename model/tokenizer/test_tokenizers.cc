#include "model/tokenizer/test_tokenizers.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"

namespace hone::model {
namespace {

using nlohmann::json;

std::unique_ptr<Tokenizer> Make(const json& pre_tokenizer, const json& decoder, const json& model) {
  const json file = {{"version", "1.0"},
                     {"added_tokens", json::array()},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", pre_tokenizer},
                     {"post_processor", nullptr},
                     {"decoder", decoder},
                     {"model", model}};
  auto tokenizer = Tokenizer::FromJson(file.dump(), "");
  HONE_CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

}  // namespace

std::unique_ptr<Tokenizer> WordTokenizer(const std::vector<std::string>& words) {
  json vocab;
  for (const std::string& word : words) vocab.emplace(word, vocab.size());
  return Make({{"type", "WhitespaceSplit"}}, nullptr,
              {{"type", "WordLevel"}, {"unk_token", words.at(0)}, {"vocab", vocab}});
}

std::unique_ptr<Tokenizer> NumberedWords(int count) {
  std::vector<std::string> words;
  for (int i = 0; i < count; ++i) words.push_back("w" + std::to_string(i));
  return WordTokenizer(words);
}

std::unique_ptr<Tokenizer> CharacterTokenizer(const std::vector<std::string>& pairs) {
  json vocab, merges = json::array();
  for (char c = '!'; c <= '~'; ++c) vocab.emplace(std::string(1, c), vocab.size());
  vocab.emplace("\u0120", vocab.size());  // a space
  vocab.emplace("\u010a", vocab.size());  // a line break
  for (const std::string& pair : pairs) {
    merges.push_back(pair.substr(0, 1) + " " + pair.substr(1));
    vocab.emplace(pair, vocab.size());
  }
  return Make({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}, {{"type", "ByteLevel"}},
              {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}});
}

}  // namespace hone::model
