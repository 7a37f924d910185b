// The model part of a tokenizer: vocabulary, and byte-pair merging over it. Immutable and thread-safe once built.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace hone::model {

inline constexpr int32_t kNoToken = -1;
inline constexpr int64_t kMaxTokenId = (1 << 24) - 1;

// Pieces by id and ids by piece. Ids may have holes.
class Vocabulary {
 public:
  // INVALID_ARGUMENT where the piece or the id is taken, or the id is out of range.
  absl::Status Add(std::string_view piece, int64_t id);
  void Reserve(size_t pieces, size_t bytes);

  int32_t Find(std::string_view piece) const;  // kNoToken if absent
  std::string_view piece(int32_t id) const;    // empty for a hole or an id out of range
  bool Contains(int32_t id) const { return id >= 0 && id < size() && pieces_[id].size != kHole; }
  int32_t size() const { return static_cast<int32_t>(pieces_.size()); }  // highest id + 1
  size_t count() const { return count_; }

 private:
  static constexpr uint32_t kHole = ~0u;
  struct Slice {
    uint64_t begin = 0;
    uint32_t size = kHole;
  };
  struct Slot {  // open addressing, linear probing
    uint32_t hash = 0;
    int32_t id = kNoToken;
  };
  void Grow();
  std::string text_;
  std::vector<Slice> pieces_;
  std::vector<Slot> slots_;
  size_t count_ = 0;
};

// Byte-pair encoding with ranked merges (Sennrich et al., arXiv:1508.07909): of all neighbouring pairs that have a
// merge, the one of lowest rank, leftmost first, is joined until none is left.
class BytePairModel {
 public:
  struct Options {
    bool byte_level = false;     // words are bytes, written in the byte alphabet
    bool ignore_merges = false;  // a word that is in the vocabulary is one token
    bool fuse_unk = false;       // neighbouring unknown characters become one unk token
    int32_t unk_id = kNoToken;   // kNoToken: unknown characters are dropped
  };

  // `vocabulary` must outlive the model. INVALID_ARGUMENT naming the merge whose parts or whole the vocabulary lacks.
  static absl::StatusOr<BytePairModel> Create(const Vocabulary* vocabulary,
                                              const std::vector<std::pair<std::string_view, std::string_view>>& merges,
                                              const Options& options);

  // What one thread needs; reusable.
  struct Scratch {
    std::vector<int32_t> ids;
    std::vector<uint32_t> ranks;
    std::vector<int32_t> previous;
    std::vector<int32_t> next;
    std::vector<std::pair<uint64_t, int32_t>> heap;
    std::string piece;
  };

  // Appends the tokens of `word`.
  void Encode(std::string_view word, Scratch* scratch, std::vector<int32_t>* out) const;

 private:
  static constexpr uint32_t kNoRank = ~0u;
  struct Merge {
    uint64_t key = ~0ull;
    uint32_t rank = kNoRank;
    int32_t id = kNoToken;
  };
  static size_t Hash(uint64_t key) { return (key * 0x9e3779b97f4a7c15ull) >> 24; }
  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  const Merge* FindMerge(int32_t left, int32_t right) const;  // nullptr if there is none
  uint32_t RankOf(int32_t left, int32_t right) const;
  void SplitIntoSymbols(std::string_view word, std::vector<int32_t>* ids) const;
  void MergeShort(Scratch* scratch) const;
  void MergeLong(Scratch* scratch) const;

  const Vocabulary* vocabulary_ = nullptr;
  Options options_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<Merge> merges_;
  size_t mask_ = 0;
};

}  // namespace hone::model
