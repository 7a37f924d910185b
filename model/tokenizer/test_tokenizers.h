// Tokenizers for tests, made in place.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace hone::model {

// Whole words, joined by spaces; ids in the order given, the first is the unknown word.
std::unique_ptr<Tokenizer> WordTokenizer(const std::vector<std::string>& words);
// The words w0, w1, ...
std::unique_ptr<Tokenizer> NumberedWords(int count);
// Byte-level BPE: each printable ASCII character, the space and the line break is a token, and each of `pairs` (of two
// printable characters).
std::unique_ptr<Tokenizer> CharacterTokenizer(const std::vector<std::string>& pairs);

}  // namespace hone::model
