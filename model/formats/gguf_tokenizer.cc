#include "model/formats/gguf_tokenizer.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "model/formats/json.h"

namespace hone::model {
namespace {

using nlohmann::json;

// Kinds of tokens in tokenizer.ggml.token_type.
constexpr int64_t kControlToken = 3;
constexpr int64_t kUserDefinedToken = 4;

// A pre-tokenizer by its name in tokenizer.ggml.pre, as the tokenizer.json of those models has it.
struct PreTokenizerKind {
  std::string_view name;
  std::string_view pattern;  // of a Split; empty for the pattern built into ByteLevel
  bool digits;               // each digit by itself first
  bool nfc;
  bool ignore_merges;
  bool add_bos;  // where tokenizer.ggml.add_bos_token is absent: older Llama-3 files rely on it
};
constexpr std::array<PreTokenizerKind, 4> kPreTokenizers = {
    {{"smollm", "", true, false, false, false},
     {"gpt-2", "", false, false, false, false},
     {"qwen2",
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      false, true, false, false},
     {"llama-bpe",
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      false, false, true, true}}};

absl::StatusOr<const PreTokenizerKind*> FindPreTokenizer(const GgufFile& file) {
  HONE_ASSIGN_OR_RETURN(const std::string_view model, file.GetString("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tokenizer.ggml.model '",
                                                   ToAbsl(model.substr(0, 100)),
                                                   "' is not supported (byte-level BPE, 'gpt2', is)"));
  }
  HONE_ASSIGN_OR_RETURN(const std::string_view name, file.GetString("tokenizer.ggml.pre"));
  for (const PreTokenizerKind& kind : kPreTokenizers) {
    if (kind.name == name) return &kind;
  }
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tokenizer.ggml.pre '", ToAbsl(name.substr(0, 100)),
                                                 "' is not supported (smollm, gpt-2, qwen2 and llama-bpe are)"));
}

json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

json PreTokenizerJson(const PreTokenizerKind& kind) {
  json members = json::array();
  if (kind.digits) members.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (!kind.pattern.empty()) {
    members.push_back({{"type", "Split"},
                       {"pattern", {{"Regex", std::string(kind.pattern)}}},
                       {"behavior", "Isolated"},
                       {"invert", false}});
  }
  members.push_back(ByteLevel(kind.pattern.empty()));
  return {{"type", "Sequence"}, {"pretokenizers", members}};
}

json AddedTokensJson(const std::vector<std::string_view>& tokens, const std::vector<int64_t>& types) {
  json added = json::array();
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] != kControlToken && types[i] != kUserDefinedToken) continue;
    added.push_back({{"id", i},
                     {"content", std::string(tokens[i])},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", types[i] == kControlToken}});
  }
  return added;
}

std::string Quoted(std::string_view text) { return DumpJson(json(std::string(text)), -1); }

// Vocabulary in order of ids and merges in order of ranks; json would sort the one by name.
absl::StatusOr<std::string> ModelJson(const GgufFile& file, const PreTokenizerKind& kind,
                                      const std::vector<std::string_view>& tokens) {
  std::string text =
      absl::StrCat(R"({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, )",
                   R"("end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": )",
                   kind.ignore_merges ? "true" : "false", ", \"vocab\": {");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!IsValidUtf8(tokens[i])) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tokenizer.ggml.tokens[", i, "] is not UTF-8"));
    }
    absl::StrAppend(&text, i == 0 ? "\n" : ",\n", Quoted(tokens[i]), ": ", i);
  }
  text += "},\n\"merges\": [";
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string_view>* merges, file.GetStrings("tokenizer.ggml.merges"));
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string_view merge = (*merges)[i];
    const size_t space = merge.find(' ', 1);  // a part is never empty, so a space in front belongs to the first
    if (space == std::string_view::npos || !IsValidUtf8(merge)) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.path(), ": tokenizer.ggml.merges[", i, "] is not two texts with a space between"));
    }
    absl::StrAppend(&text, i == 0 ? "\n" : ",\n", "[", Quoted(merge.substr(0, space)), ", ",
                    Quoted(merge.substr(space + 1)), "]");
  }
  return text + "]}";
}

// Puts `token` before every text, as TemplateProcessing does with add_special_tokens.
json PrependingPostProcessor(const std::string& token, int64_t id) {
  const json special = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  const auto sequence = [](const char* name, int type) {
    return json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", {special, sequence("A", 0)}},
          {"pair", {special, sequence("A", 0), special, sequence("B", 1)}},
          {"special_tokens", {{token, {{"id", token}, {"ids", {id}}, {"tokens", {token}}}}}}};
}

// Reads the id under `key` if it is there.
absl::StatusOr<std::optional<int64_t>> TokenId(const GgufFile& file, std::string_view key, size_t token_count) {
  if (!file.Has(key)) return std::optional<int64_t>();
  HONE_ASSIGN_OR_RETURN(const int64_t id, file.GetInt(key));
  if (id < 0 || static_cast<uint64_t>(id) >= token_count) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": ", ToAbsl(key), " is ", id, ", but there are ", token_count, " tokens"));
  }
  return std::optional<int64_t>(id);
}

}  // namespace

absl::StatusOr<GgufTokenizer> ConvertGgufTokenizer(const GgufFile& file, int64_t context_length) {
  HONE_ASSIGN_OR_RETURN(const PreTokenizerKind* kind, FindPreTokenizer(file));
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string_view>* tokens, file.GetStrings("tokenizer.ggml.tokens"));
  HONE_ASSIGN_OR_RETURN(const std::vector<int64_t> types, file.GetInts("tokenizer.ggml.token_type"));
  if (types.size() != tokens->size()) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tokenizer.ggml.token_type has ", types.size(),
                                                   " entries for ", tokens->size(), " tokens"));
  }
  GgufTokenizer result;
  result.token_count = static_cast<int64_t>(tokens->size());
  const auto id_of = [&](std::string_view key) { return TokenId(file, key, tokens->size()); };
  HONE_ASSIGN_OR_RETURN(result.bos_id, id_of("tokenizer.ggml.bos_token_id"));
  HONE_ASSIGN_OR_RETURN(result.pad_id, id_of("tokenizer.ggml.padding_token_id"));
  HONE_ASSIGN_OR_RETURN(const std::optional<int64_t> eos_id, id_of("tokenizer.ggml.eos_token_id"));
  HONE_ASSIGN_OR_RETURN(const std::optional<int64_t> eot_id, id_of("tokenizer.ggml.eot_token_id"));
  HONE_ASSIGN_OR_RETURN(const std::optional<int64_t> unk_id, id_of("tokenizer.ggml.unknown_token_id"));
  if (eos_id.has_value()) result.eos_ids.push_back(*eos_id);
  if (eot_id.has_value() && eot_id != eos_id) result.eos_ids.push_back(*eot_id);

  bool add_bos = kind->add_bos && result.bos_id.has_value();
  if (file.Has("tokenizer.ggml.add_bos_token")) {
    HONE_ASSIGN_OR_RETURN(add_bos, file.GetBool("tokenizer.ggml.add_bos_token"));
    if (add_bos && !result.bos_id.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          file.path(), ": tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id"));
    }
  }
  const auto text_of = [&](int64_t id) { return std::string((*tokens)[static_cast<size_t>(id)]); };
  HONE_ASSIGN_OR_RETURN(const std::string model, ModelJson(file, *kind, *tokens));
  const json post_processor =
      add_bos ? PrependingPostProcessor(text_of(*result.bos_id), *result.bos_id) : json(nullptr);
  result.tokenizer_json = absl::StrCat(
      "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n\"added_tokens\": ",
      DumpJson(AddedTokensJson(*tokens, types)), ",\n\"normalizer\": ", kind->nfc ? R"({"type": "NFC"})" : "null",
      ",\n\"pre_tokenizer\": ", DumpJson(PreTokenizerJson(*kind)), ",\n\"post_processor\": ", DumpJson(post_processor),
      ",\n\"decoder\": ", DumpJson(ByteLevel(true)), ",\n\"model\": ", model, "}\n");

  json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"model_max_length", context_length},
                 {"clean_up_tokenization_spaces", false}};
  if (result.bos_id.has_value()) config["bos_token"] = text_of(*result.bos_id);
  if (eos_id.has_value()) config["eos_token"] = text_of(*eos_id);
  if (result.pad_id.has_value()) config["pad_token"] = text_of(*result.pad_id);
  if (unk_id.has_value()) config["unk_token"] = text_of(*unk_id);
  if (file.Has("tokenizer.chat_template")) {
    HONE_ASSIGN_OR_RETURN(const std::string_view chat_template, file.GetString("tokenizer.chat_template"));
    config["chat_template"] = std::string(chat_template);
  }
  result.tokenizer_config_json = DumpJson(config) + "\n";
  return result;
}

}  // namespace hone::model
