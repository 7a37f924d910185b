// Pre-tokenizers: cut normalized text into the words that the model sees one by one, as the `tokenizers` library does.
// Immutable and thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/regex.h"

namespace hone::model {

class PreTokenizer {
 public:
  // From tokenizer.json's "pre_tokenizer" (nullptr or null for none). INVALID_ARGUMENT for a type or an option that is
  // not known, and for anything behind a ByteLevel (it would see the byte alphabet instead of text).
  static absl::StatusOr<std::unique_ptr<PreTokenizer>> FromJson(const nlohmann::json* config);

  // What one thread needs to run; reusable. Words of a run are views into `text` or into this.
  class Scratch {
   public:
    explicit Scratch(const PreTokenizer& pre_tokenizer);

   private:
    friend class PreTokenizer;
    std::vector<std::unique_ptr<Regex::Scratch>> regexes_;  // per stage; null where it has no regex
    std::vector<TextRange> matches_;
    std::vector<std::string_view> before_;
    std::vector<std::string_view> after_;
    std::deque<std::string> prefixed_;  // words that got a space in front
  };

  // The words of `text`, none of them empty; valid until the next run with `scratch` and while `text` lives.
  const std::vector<std::string_view>& Run(std::string_view text, Scratch* scratch) const;

  // True where the model is to see each word in the byte alphabet.
  bool byte_level() const { return byte_level_; }

 private:
  enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Kind { kRegex, kLiteral, kNumeric, kWhitespace, kWordOrSymbols, kAddPrefixSpace };
  struct Stage {
    Kind kind = Kind::kRegex;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    std::unique_ptr<Regex> regex;
    std::string literal;
  };

  PreTokenizer() = default;
  absl::Status Add(const nlohmann::json& config, int depth);
  absl::Status AddByteLevel(const nlohmann::json& config);
  absl::Status AddSplit(const nlohmann::json& config);
  static void FindMatches(const Stage& stage, std::string_view text, Regex::Scratch* regex_scratch,
                          std::vector<TextRange>* matches);
  static void Cut(const Stage& stage, std::string_view text, const std::vector<TextRange>& matches,
                  std::vector<std::string_view>* words);

  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

}  // namespace hone::model
