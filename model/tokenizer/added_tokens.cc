#include "model/tokenizer/added_tokens.h"

#include <algorithm>

#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

// Start of the last character of `text`, which is not empty.
size_t LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) --begin;
  return begin;
}

bool EndsWithWord(std::string_view text) {
  if (text.empty()) return false;
  size_t begin = LastCharacter(text);
  return IsWord(NextCodePoint(text, &begin));
}

bool StartsWithWord(std::string_view text) {
  size_t position = 0;
  return !text.empty() && IsWord(NextCodePoint(text, &position));
}

// Size of `text` without the white space at its end.
size_t SizeWithoutTrailingSpace(std::string_view text) {
  while (!text.empty()) {
    const size_t last = LastCharacter(text);
    size_t position = last;
    if (!IsWhitespace(NextCodePoint(text, &position))) break;
    text = text.substr(0, last);
  }
  return text.size();
}

size_t LeadingSpaceSize(std::string_view text) {
  size_t size = 0;
  for (size_t i = 0; i < text.size() && IsWhitespace(NextCodePoint(text, &i));) size = i;
  return size;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder() { roots_.fill(-1); }

int32_t AddedTokenFinder::Child(int32_t node, uint8_t byte) const {
  int32_t child = nodes_[node].first_child;
  while (child >= 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

void AddedTokenFinder::Add(std::string_view text, const AddedToken* token) {
  if (text.empty()) return;
  int32_t& root = roots_[static_cast<uint8_t>(text[0])];
  if (root < 0) {
    root = static_cast<int32_t>(nodes_.size());
    nodes_.emplace_back();
  }
  int32_t node = root;
  for (const char c : text.substr(1)) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t child = Child(node, byte);
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({nullptr, -1, nodes_[node].first_child, byte});
      nodes_[node].first_child = child;
    }
    node = child;
  }
  if (nodes_[node].token == nullptr) nodes_[node].token = token;
}

const AddedToken* AddedTokenFinder::LongestAt(std::string_view text, size_t begin, size_t* end) const {
  const AddedToken* found = nullptr;
  int32_t node = roots_[static_cast<uint8_t>(text[begin])];
  for (size_t i = begin + 1; node >= 0; ++i) {
    if (nodes_[node].token != nullptr) {
      found = nodes_[node].token;
      *end = i;
    }
    if (i >= text.size()) break;
    node = Child(node, static_cast<uint8_t>(text[i]));
  }
  return found;
}

void AddedTokenFinder::Split(std::string_view text, bool parse_special, std::vector<Piece>* pieces) const {
  size_t done = 0;  // everything before it is in `pieces`
  size_t position = 0;
  while (position < text.size()) {
    if (roots_[static_cast<uint8_t>(text[position])] < 0) {
      ++position;
      continue;
    }
    size_t end = 0;
    const AddedToken* token = LongestAt(text, position, &end);
    if (token == nullptr) {
      ++position;
      continue;
    }
    size_t begin = position;
    position = end;  // the search goes on behind the match, whether or not it counts
    if (token->special && !parse_special) continue;
    if (token->single_word && (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) continue;
    if (token->lstrip) begin = std::max(SizeWithoutTrailingSpace(text.substr(0, begin)), done);
    if (token->rstrip) end += LeadingSpaceSize(text.substr(end));
    if (begin > done) pieces->push_back({text.substr(done, begin - done), nullptr});
    pieces->push_back({text.substr(begin, end - begin), token});
    done = end;
  }
  if (done < text.size()) pieces->push_back({text.substr(done), nullptr});
}

}  // namespace hone::model
