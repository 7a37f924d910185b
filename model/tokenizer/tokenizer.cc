#include "model/tokenizer/tokenizer.h"

#include <deque>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/strings.h"
#include "model/formats/json.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/post_processor.h"
#include "model/tokenizer/pretokenizer.h"
#include "model/tokenizer/tokenizer_file.h"
#include "model/tokenizer/unicode.h"
#include "model/tokenizer/vocabulary.h"

namespace hone::model {
namespace {

using nlohmann::json;

constexpr int kMaxNormalizerDepth = 4;

std::string StringOr(const json& object, std::string_view key, std::string_view fallback) {
  const json* value = FindMember(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(fallback);
}

absl::StatusOr<bool> ReadFlag(const json& object, std::string_view key) {
  const json* value = FindMember(object, key);
  if (value == nullptr || value->is_null()) return false;
  if (!value->is_boolean()) return absl::InvalidArgumentError(absl::StrCat("'", ToAbsl(key), "' is not true or false"));
  return value->get<bool>();
}

absl::Status Refuse(std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", ToAbsl(message)));
}

// True where the normalizer is (or contains) NFC, the only one there is besides none.
absl::StatusOr<bool> ReadNormalizer(const json* config, int depth) {
  if (config == nullptr || config->is_null()) return false;
  const std::string type = StringOr(*config, "type", "");
  if (type == "NFC") return true;
  const json* members = FindMember(*config, "normalizers");
  if (type != "Sequence" || members == nullptr || !members->is_array() || depth >= kMaxNormalizerDepth) {
    return Refuse(absl::StrCat("normalizer type '", type.substr(0, 100), "' is not supported (NFC and Sequence are)"));
  }
  bool nfc = false;
  for (const json& member : *members) {
    HONE_ASSIGN_OR_RETURN(const bool one, ReadNormalizer(&member, depth + 1));
    nfc |= one;
  }
  return nfc;
}

absl::StatusOr<AddedToken> ReadAddedToken(const json& config, int64_t max_id) {
  AddedToken token;
  const json* id = FindMember(config, "id");
  const json* content = FindMember(config, "content");
  if (content == nullptr || !content->is_string()) return absl::InvalidArgumentError("expected a text 'content'");
  if (id == nullptr || !id->is_number_unsigned() || id->get<uint64_t>() > static_cast<uint64_t>(max_id)) {
    return absl::InvalidArgumentError(absl::StrCat("expected a whole number 'id' from 0 to ", max_id));
  }
  token.id = id->get<int32_t>();
  token.content = content->get<std::string>();
  HONE_ASSIGN_OR_RETURN(token.single_word, ReadFlag(config, "single_word"));
  HONE_ASSIGN_OR_RETURN(token.lstrip, ReadFlag(config, "lstrip"));
  HONE_ASSIGN_OR_RETURN(token.rstrip, ReadFlag(config, "rstrip"));
  HONE_ASSIGN_OR_RETURN(token.normalized, ReadFlag(config, "normalized"));
  HONE_ASSIGN_OR_RETURN(token.special, ReadFlag(config, "special"));
  return token;
}

}  // namespace

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  std::optional<BytePairModel> byte_pairs;  // absent: WordLevel
  int32_t word_unk_id = kNoToken;           // WordLevel's
  bool nfc = false;
  bool byte_level_decoder = false;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  PostProcessor post_processor;

  std::deque<AddedToken> added;  // stable addresses
  std::unordered_map<std::string_view, const AddedToken*> added_by_content;
  AddedTokenFinder plain_finder;       // in the text as it came
  AddedTokenFinder normalized_finder;  // in normalized text

  struct Token {
    std::string bytes;                  // what it decodes to
    const AddedToken* added = nullptr;  // if it is one
    bool exists = false;
  };
  std::vector<Token> tokens;  // by id

  std::optional<int32_t> bos, eos, pad, unk;

  // What one call of Encode needs.
  struct Scratch {
    explicit Scratch(const PreTokenizer& pre_tokenizer) : words(pre_tokenizer) {}
    PreTokenizer::Scratch words;
    BytePairModel::Scratch merging;
    std::string piece;
  };

  absl::Status ReadModel(const TokenizerFile& file);
  absl::Status ReadBytePairs(const json& config, const TokenizerFile& file);
  absl::Status ReadAddedTokens(const json* list, int64_t max_id);
  absl::Status ReadDecoder(const json* config);
  void BuildTokens();
  absl::Status ReadPostProcessing(const json* config);  // after BuildTokens
  absl::Status ReadConfig(std::string_view config_json);
  absl::Status ReadNamedToken(const json& config, const std::string& key, std::optional<int32_t>* id) const;
  std::optional<int32_t> Find(std::string_view piece) const;
  const Token* Get(int32_t id) const;
  void EncodeWords(std::string_view text, Scratch* scratch, std::vector<int32_t>* out) const;
};

absl::Status Tokenizer::Impl::ReadBytePairs(const json& config, const TokenizerFile& file) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!StringOr(config, key, "").empty()) return Refuse(absl::StrCat("model.", key, " is not supported"));
  }
  const json* dropout = FindMember(config, "dropout");
  if (dropout != nullptr && dropout->is_number() && dropout->get<double>() != 0) {
    return Refuse("model.dropout is not supported");
  }
  HONE_ASSIGN_OR_RETURN(const bool byte_fallback, ReadFlag(config, "byte_fallback"));
  if (byte_fallback) return Refuse("model.byte_fallback is not supported");
  BytePairModel::Options options;
  options.byte_level = pre_tokenizer->byte_level();
  HONE_ASSIGN_OR_RETURN(options.ignore_merges, ReadFlag(config, "ignore_merges"));
  HONE_ASSIGN_OR_RETURN(options.fuse_unk, ReadFlag(config, "fuse_unk"));
  if (const std::string unk_token = StringOr(config, "unk_token", ""); !unk_token.empty()) {
    options.unk_id = vocabulary.Find(unk_token);
    if (options.unk_id == kNoToken) {
      return Refuse(absl::StrCat("model.unk_token '", unk_token.substr(0, 100), "' is not in model.vocab"));
    }
  }
  auto model = BytePairModel::Create(&vocabulary, file.MergeViews(), options);
  if (!model.ok()) return Annotate(model.status(), "tokenizer.json");
  byte_pairs = *std::move(model);
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::ReadModel(const TokenizerFile& file) {
  const json* config = FindMember(file.rest, "model");
  if (config == nullptr || !config->is_object() || !file.has_vocabulary) {
    return Refuse("expected an object 'model' with a 'vocab'");
  }
  // Files from before the library wrote the type have merges where the model is BPE.
  const std::string type = StringOr(*config, "type", file.merges.empty() ? "" : "BPE");
  if (type == "BPE") return ReadBytePairs(*config, file);
  if (type != "WordLevel") {
    return Refuse(absl::StrCat("model type '", type.substr(0, 100), "' is not supported (BPE and WordLevel are)"));
  }
  const std::string unk_token = StringOr(*config, "unk_token", "<unk>");
  word_unk_id = vocabulary.Find(unk_token);
  if (word_unk_id == kNoToken) {
    return Refuse(absl::StrCat("a WordLevel model needs its unk_token in its vocab, which lacks '",
                               unk_token.substr(0, 100), "'"));
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::ReadAddedTokens(const json* list, int64_t max_id) {
  if (list == nullptr || list->is_null()) return absl::OkStatus();
  if (!list->is_array()) return Refuse("'added_tokens' is not an array");
  std::unordered_map<int32_t, const AddedToken*> by_id;
  for (const json& entry : *list) {
    auto read = ReadAddedToken(entry, max_id);
    if (!read.ok()) return Annotate(read.status(), absl::StrCat("tokenizer.json: added_tokens[", added.size(), "]"));
    const AddedToken& token = added.emplace_back(*std::move(read));
    const auto conflict = [&](std::string_view what) {
      return Refuse(
          absl::StrCat("added token '", token.content.substr(0, 100), "' with id ", token.id, ": ", ToAbsl(what)));
    };
    if (token.content.empty()) return conflict("its text is empty");
    if (!added_by_content.emplace(token.content, &token).second) return conflict("it is listed twice");
    if (!by_id.emplace(token.id, &token).second) return conflict("another added token has that id");
    const int32_t in_vocabulary = vocabulary.Find(token.content);
    if (in_vocabulary != kNoToken && in_vocabulary != token.id) {
      return conflict(absl::StrCat("model.vocab has it with id ", in_vocabulary));
    }
    if (in_vocabulary == kNoToken && vocabulary.Contains(token.id)) {
      return conflict(absl::StrCat("model.vocab gives that id to '", ToAbsl(vocabulary.piece(token.id)), "'"));
    }
    std::string normal;
    if (token.normalized && nfc && NormalizeNfc(token.content, &normal)) {
      normalized_finder.Add(normal, &token);
    } else {
      (token.normalized ? normalized_finder : plain_finder).Add(token.content, &token);
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::ReadDecoder(const json* config) {
  if (config == nullptr || config->is_null()) return absl::OkStatus();
  const std::string type = StringOr(*config, "type", "");
  if (type != "ByteLevel") {
    return Refuse(absl::StrCat("decoder type '", type.substr(0, 100), "' is not supported (ByteLevel and null are)"));
  }
  byte_level_decoder = true;
  return absl::OkStatus();
}

void Tokenizer::Impl::BuildTokens() {
  int32_t size = vocabulary.size();
  for (const AddedToken& token : added) size = std::max(size, token.id + 1);
  tokens.resize(size);
  for (const AddedToken& token : added) tokens[token.id].added = &token;
  for (int32_t id = 0; id < size; ++id) {
    Token& token = tokens[id];
    token.exists = token.added != nullptr || vocabulary.Contains(id);
    const std::string_view piece = token.added != nullptr ? token.added->content : vocabulary.piece(id);
    token.bytes = byte_level_decoder ? BytesOfPiece(piece) : std::string(piece);
  }
}

absl::Status Tokenizer::Impl::ReadPostProcessing(const json* config) {
  auto read = ReadPostProcessor(config);
  if (!read.ok()) return Annotate(read.status(), "tokenizer.json");
  post_processor = *std::move(read);
  for (const std::vector<int32_t>* ids : {&post_processor.before, &post_processor.after}) {
    for (const int32_t id : *ids) {
      if (Get(id) == nullptr) return Refuse(absl::StrCat("post_processor: the tokenizer has no token with id ", id));
    }
  }
  return absl::OkStatus();
}

std::optional<int32_t> Tokenizer::Impl::Find(std::string_view piece) const {
  if (const auto it = added_by_content.find(piece); it != added_by_content.end()) return it->second->id;
  const int32_t id = vocabulary.Find(piece);
  return id == kNoToken ? std::nullopt : std::optional<int32_t>(id);
}

const Tokenizer::Impl::Token* Tokenizer::Impl::Get(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tokens.size() || !tokens[id].exists) return nullptr;
  return &tokens[id];
}

absl::Status Tokenizer::Impl::ReadNamedToken(const json& config, const std::string& key,
                                             std::optional<int32_t>* id) const {
  const json* value = FindMember(config, key);
  if (value != nullptr && value->is_object()) value = FindMember(*value, "content");  // an AddedToken
  if (value == nullptr || value->is_null()) return absl::OkStatus();
  if (!value->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer_config.json: '", key, "' is not a token"));
  }
  *id = Find(value->get_ref<const std::string&>());
  if (id->has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "tokenizer_config.json: ", key, " '", value->get<std::string>().substr(0, 100), "' is not in tokenizer.json"));
}

absl::Status Tokenizer::Impl::ReadConfig(std::string_view config_json) {
  if (config_json.empty()) return absl::OkStatus();
  HONE_ASSIGN_OR_RETURN(const json config, ParseJson(config_json, "tokenizer_config.json"));
  if (!config.is_object()) return absl::InvalidArgumentError("tokenizer_config.json: expected a JSON object");
  HONE_RETURN_IF_ERROR(ReadNamedToken(config, "bos_token", &bos));
  HONE_RETURN_IF_ERROR(ReadNamedToken(config, "eos_token", &eos));
  HONE_RETURN_IF_ERROR(ReadNamedToken(config, "pad_token", &pad));
  return ReadNamedToken(config, "unk_token", &unk);
}

void Tokenizer::Impl::EncodeWords(std::string_view text, Scratch* scratch, std::vector<int32_t>* out) const {
  for (const std::string_view word : pre_tokenizer->Run(text, &scratch->words)) {
    if (byte_pairs.has_value()) {
      byte_pairs->Encode(word, &scratch->merging, out);
      continue;
    }
    std::string_view piece = word;
    if (pre_tokenizer->byte_level()) {
      scratch->piece.clear();
      AppendByteLevel(word, &scratch->piece);
      piece = scratch->piece;
    }
    const int32_t id = vocabulary.Find(piece);
    out->push_back(id == kNoToken ? word_unk_id : id);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view tokenizer_json,
                                                               std::string_view tokenizer_config_json) {
  auto impl = std::make_unique<Impl>();
  HONE_ASSIGN_OR_RETURN(TokenizerFile file, ReadTokenizerFile(tokenizer_json));
  impl->vocabulary = std::move(file.vocabulary);
  HONE_ASSIGN_OR_RETURN(impl->nfc, ReadNormalizer(FindMember(file.rest, "normalizer"), 0));
  auto pre_tokenizer = PreTokenizer::FromJson(FindMember(file.rest, "pre_tokenizer"));
  if (!pre_tokenizer.ok()) return Annotate(pre_tokenizer.status(), "tokenizer.json");
  impl->pre_tokenizer = *std::move(pre_tokenizer);
  HONE_RETURN_IF_ERROR(impl->ReadModel(file));
  HONE_RETURN_IF_ERROR(impl->ReadAddedTokens(FindMember(file.rest, "added_tokens"), file.max_token_id));
  HONE_RETURN_IF_ERROR(impl->ReadDecoder(FindMember(file.rest, "decoder")));
  impl->BuildTokens();
  HONE_RETURN_IF_ERROR(impl->ReadPostProcessing(FindMember(file.rest, "post_processor")));
  HONE_RETURN_IF_ERROR(impl->ReadConfig(tokenizer_config_json));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromDirectory(const std::string& directory) {
  HONE_ASSIGN_OR_RETURN(const std::string tokenizer,
                        ReadFile(JoinPath(directory, "tokenizer.json"), kMaxModelJsonBytes));
  const std::string config_path = JoinPath(directory, "tokenizer_config.json");
  std::string config;
  if (FileExists(config_path)) {
    HONE_ASSIGN_OR_RETURN(config, ReadFile(config_path, kMaxModelJsonBytes));
  }
  auto result = FromJson(tokenizer, config);
  if (!result.ok()) return Annotate(result.status(), directory);
  return result;
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, bool parse_special) const {
  std::vector<int32_t> ids;
  std::string valid;
  if (!IsValidUtf8(text)) {
    valid = ToValidUtf8(text);
    text = valid;
  }
  Impl::Scratch scratch(*impl_->pre_tokenizer);
  std::vector<AddedTokenFinder::Piece> outer;
  std::vector<AddedTokenFinder::Piece> inner;
  std::string normal;
  impl_->plain_finder.Split(text, parse_special, &outer);
  for (const AddedTokenFinder::Piece& piece : outer) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
      continue;
    }
    std::string_view plain = piece.text;
    if (impl_->nfc && NormalizeNfc(plain, &normal)) plain = normal;
    inner.clear();
    impl_->normalized_finder.Split(plain, parse_special, &inner);
    for (const AddedTokenFinder::Piece& part : inner) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        impl_->EncodeWords(part.text, &scratch, &ids);
      }
    }
  }
  return ids;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  bool first = true;
  for (const int32_t id : ids) {
    const Impl::Token* token = impl_->Get(id);
    if (token == nullptr || (skip_special && token->added != nullptr && token->added->special)) continue;
    if (!first && JoinsWithSpace()) bytes.push_back(' ');
    bytes.append(token->bytes);
    first = false;
  }
  return IsValidUtf8(bytes) ? bytes : ToValidUtf8(bytes);
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  const Impl::Token* token = impl_->Get(id);
  return token == nullptr ? "" : token->bytes;
}

std::string Tokenizer::TokenPiece(int32_t id) const {
  const Impl::Token* token = impl_->Get(id);
  if (token == nullptr) return "";
  return token->added != nullptr ? token->added->content : std::string(impl_->vocabulary.piece(id));
}

std::optional<int32_t> Tokenizer::FindToken(std::string_view piece) const { return impl_->Find(piece); }

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tokens.size()); }

bool Tokenizer::IsSpecial(int32_t id) const {
  const Impl::Token* token = impl_->Get(id);
  return token != nullptr && token->added != nullptr && token->added->special;
}

bool Tokenizer::JoinsWithSpace() const { return !impl_->byte_level_decoder; }

const std::vector<int32_t>& Tokenizer::prefix() const { return impl_->post_processor.before; }
const std::vector<int32_t>& Tokenizer::suffix() const { return impl_->post_processor.after; }

std::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->pad; }
std::optional<int32_t> Tokenizer::unk_id() const { return impl_->unk; }

StreamDecoder::StreamDecoder(const Tokenizer* tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {}

std::string StreamDecoder::Push(int32_t id) {
  const Tokenizer::Impl::Token* token = tokenizer_->impl_->Get(id);
  if (token == nullptr || (skip_special_ && tokenizer_->IsSpecial(id))) return "";
  if (!first_ && tokenizer_->JoinsWithSpace()) pending_.push_back(' ');
  first_ = false;
  pending_.append(token->bytes);
  std::string_view rest = pending_;
  std::string text;
  while (!rest.empty()) {
    const Utf8Front front = ReadUtf8Front(rest);
    if (front.kind == Utf8Kind::kIncomplete) break;
    if (front.kind == Utf8Kind::kCharacter) {
      text.append(rest.substr(0, front.size));
    } else {
      text.append("\xef\xbf\xbd");
    }
    rest.remove_prefix(front.size);
  }
  pending_ = std::string(rest);
  return text;
}

std::string StreamDecoder::Flush() {
  std::string text = pending_.empty() ? "" : "\xef\xbf\xbd";
  pending_.clear();
  first_ = true;
  return text;
}

}  // namespace hone::model
