// tokenizer.json as read: the two huge parts, vocabulary and merges, straight into tables, the rest as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/vocabulary.h"

namespace hone::model {

struct TokenizerFile {
  nlohmann::json rest;  // without model.vocab and model.merges
  Vocabulary vocabulary;
  std::string merge_text;
  struct MergeSlice {
    size_t begin;
    size_t left_size;
    size_t right_size;
  };
  std::vector<MergeSlice> merges;  // in merge_text
  bool has_vocabulary = false;
  int64_t max_token_id = 0;  // above which an id is refused

  std::vector<std::pair<std::string_view, std::string_view>> MergeViews() const;
};

// INVALID_ARGUMENT where `text` is not JSON or its vocabulary or merges are not of the expected shape. Tables have an
// entry for every id up to the highest, so ids are limited by the text's length: a short file asks for little memory.
absl::StatusOr<TokenizerFile> ReadTokenizerFile(std::string_view text);

}  // namespace hone::model
