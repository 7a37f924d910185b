// Added tokens: texts that become one token wherever they stand, before the model sees what lies between them.
// Immutable and thread-safe once built.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::model {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space to its left with it
  bool rstrip = false;       // and to its right
  bool normalized = false;   // looked for in normalized text
  bool special = false;
};

// Finds added tokens in text: of those that start first, the longest (Aho-Corasick's leftmost-longest).
class AddedTokenFinder {
 public:
  AddedTokenFinder();
  // `text` is what to look for (the token's content, normalized if it is to be); `token` must outlive this.
  void Add(std::string_view text, const AddedToken* token);

  struct Piece {
    std::string_view text;
    const AddedToken* token;  // nullptr for text between tokens
  };
  // Appends the pieces of `text`. Where `parse_special` is false, special tokens stay text.
  void Split(std::string_view text, bool parse_special, std::vector<Piece>* pieces) const;

 private:
  struct Node {
    const AddedToken* token = nullptr;
    int32_t first_child = -1;
    int32_t sibling = -1;
    uint8_t byte = 0;
  };
  int32_t Child(int32_t node, uint8_t byte) const;  // -1 if there is none
  const AddedToken* LongestAt(std::string_view text, size_t begin, size_t* end) const;

  std::vector<Node> nodes_;
  std::array<int32_t, 256> roots_;  // the node of each first byte
};

}  // namespace hone::model
