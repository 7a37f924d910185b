// Tokenizer: text <-> token ids from a Hugging Face tokenizer.json, equal to what the `tokenizers` library gives.
//
// Read: models BPE (byte-level or plain characters) and WordLevel; normalizers NFC, Sequence, null; pre-tokenizers
// ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, Sequence, null; post-processors TemplateProcessing, ByteLevel,
// Sequence, null; decoders ByteLevel and null; added tokens with all their flags. Any other component is an
// INVALID_ARGUMENT error that names it, never an approximation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {

// Immutable after construction; every method is const and thread-safe.
class Tokenizer {
 public:
  // `tokenizer_config_json` names the bos, eos, pad and unk tokens; it may be empty, then there are none.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view tokenizer_json,
                                                             std::string_view tokenizer_config_json);
  // tokenizer.json and, where present, tokenizer_config.json of a model folder.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromDirectory(const std::string& directory);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Ids of `text`, with no token added before or after it (add_special_tokens = False). Where `parse_special` is false,
  // the text of special added tokens is encoded as ordinary text (for what users wrote). Bytes that are not UTF-8 count
  // as U+FFFD, one for each maximal ill-formed subsequence. A byte-level BPE without unk_token drops bytes that its
  // vocabulary lacks, as `tokenizers` does.
  std::vector<int32_t> Encode(std::string_view text, bool parse_special = true) const;

  // What the post-processor puts before and after a text (add_special_tokens = True); often a beginning-of-sequence
  // token and nothing. prompt_frame.h says which texts get it.
  const std::vector<int32_t>& prefix() const;
  const std::vector<int32_t>& suffix() const;

  // Text of `ids`: valid UTF-8, bytes that do not form a character become U+FFFD. Ids outside the vocabulary add
  // nothing. Without a decoder in tokenizer.json the tokens are joined by one space.
  std::string Decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // What `id` contributes to the decoded byte stream: raw bytes (perhaps part of a character) for a byte-level
  // tokenizer, the token itself otherwise. Empty for an id outside the vocabulary.
  std::string TokenBytes(int32_t id) const;
  // The vocabulary's spelling of `id` ("Ġthe"); empty for an id outside the vocabulary.
  std::string TokenPiece(int32_t id) const;
  std::optional<int32_t> FindToken(std::string_view piece) const;  // by that spelling

  int32_t vocab_size() const;        // highest id + 1; a model's embedding may have more rows
  bool IsSpecial(int32_t id) const;  // an added token marked special
  bool JoinsWithSpace() const;       // true where Decode puts a space between two tokens

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unk_id() const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Decodes a growing sequence: the concatenation of all Push results and one Flush equals Decode of all the ids.
// One thread; the tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer* tokenizer, bool skip_special = false);
  // The text that `id` completes; empty while a multi-byte character is still open.
  std::string Push(int32_t id);
  // U+FFFD for what is still open, else empty. The decoder then starts anew.
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool first_ = true;
  std::string pending_;  // a proper prefix of a character
};

}  // namespace hone::model
