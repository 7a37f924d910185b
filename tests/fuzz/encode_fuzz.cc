// Any text through a fixed byte-level tokenizer that has all 256 bytes: what is encoded decodes to the same text.
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"

namespace {

std::unique_ptr<hone::model::Tokenizer> MakeTokenizer() {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    hone::model::AppendUtf8(hone::model::ByteAlphabet()[byte], &piece);
    vocab[piece] = byte;
  }
  nlohmann::json merges = nlohmann::json::array();
  const char* const pairs[][2] = {{"a", "b"}, {"ab", "ab"}, {"Ġ", "Ġ"},  {"Ġ", "a"},
                                  {"Ã", "©"}, {"e", "e"},   {"ee", "ee"}};
  for (const auto& [left, right] : pairs) {
    merges.push_back({left, right});
    vocab[std::string(left) + right] = vocab.size();
  }
  const char* const pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const nlohmann::json tokenizer = {
      {"added_tokens",
       {{{"id", 300}, {"content", "<a>"}, {"special", true}},
        {{"id", 301}, {"content", "<a><a>"}, {"normalized", true}}}},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
  auto result = hone::model::Tokenizer::FromJson(tokenizer.dump(), "");
  HONE_CHECK(result.ok()) << result.status().ToString();
  return *std::move(result);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<hone::model::Tokenizer> tokenizer = MakeTokenizer();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string valid = hone::model::ToValidUtf8(text);
  HONE_CHECK(tokenizer->Decode(tokenizer->Encode(text)) == valid);
  HONE_CHECK(tokenizer->Decode(tokenizer->Encode(text, false)) == valid);
  return 0;
}
