#include "model/tokenizer/vocabulary.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

// A word of up to so many symbols is merged by scanning for the best pair: cheaper than a heap while all fits in a few
// lines of cache.
constexpr size_t kShortWord = 64;

uint32_t HashPiece(std::string_view piece) {
  const size_t hash = std::hash<std::string_view>()(piece);
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

void Vocabulary::Reserve(size_t pieces, size_t bytes) {
  pieces_.reserve(pieces);
  text_.reserve(bytes);
}

void Vocabulary::Grow() {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(old.empty() ? 1024 : old.size() * 2, Slot{});
  for (const Slot& slot : old) {
    if (slot.id == kNoToken) continue;
    size_t i = slot.hash & (slots_.size() - 1);
    while (slots_[i].id != kNoToken) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }
}

absl::Status Vocabulary::Add(std::string_view piece, int64_t id) {
  const auto describe = [&] { return absl::StrCat("token '", ToAbsl(piece.substr(0, 100)), "' with id ", id); };
  if (id < 0 || id > kMaxTokenId) {
    return absl::InvalidArgumentError(absl::StrCat(describe(), ": ids go from 0 to ", kMaxTokenId));
  }
  if (Contains(static_cast<int32_t>(id))) {
    return absl::InvalidArgumentError(absl::StrCat(describe(), ": the id belongs to '",
                                                   ToAbsl(this->piece(static_cast<int32_t>(id)).substr(0, 100)), "'"));
  }
  if (Find(piece) != kNoToken)
    return absl::InvalidArgumentError(absl::StrCat(describe(), ": it has the id ", Find(piece)));
  if (static_cast<size_t>(id) >= pieces_.size()) pieces_.resize(id + 1);
  pieces_[id] = {text_.size(), static_cast<uint32_t>(piece.size())};
  text_.append(piece);
  if (++count_ * 2 > slots_.size()) Grow();
  const uint32_t hash = HashPiece(piece);
  size_t i = hash & (slots_.size() - 1);
  while (slots_[i].id != kNoToken) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {hash, static_cast<int32_t>(id)};
  return absl::OkStatus();
}

int32_t Vocabulary::Find(std::string_view piece) const {
  if (slots_.empty()) return kNoToken;
  const uint32_t hash = HashPiece(piece);
  for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.id == kNoToken) return kNoToken;
    if (slot.hash == hash && this->piece(slot.id) == piece) return slot.id;
  }
}

std::string_view Vocabulary::piece(int32_t id) const {
  if (!Contains(id)) return {};
  return std::string_view(text_).substr(pieces_[id].begin, pieces_[id].size);
}

absl::StatusOr<BytePairModel> BytePairModel::Create(
    const Vocabulary* vocabulary, const std::vector<std::pair<std::string_view, std::string_view>>& merges,
    const Options& options) {
  BytePairModel model;
  model.vocabulary_ = vocabulary;
  model.options_ = options;
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    AppendUtf8(ByteAlphabet()[byte], &piece);
    model.byte_ids_[byte] = vocabulary->Find(piece);
  }
  size_t slots = 16;
  while (slots < merges.size() * 2) slots *= 2;
  model.merges_.resize(slots);
  model.mask_ = slots - 1;
  std::string whole;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const int32_t left_id = vocabulary->Find(left);
    const int32_t right_id = vocabulary->Find(right);
    whole.assign(left).append(right);
    const int32_t whole_id = vocabulary->Find(whole);
    if (left_id == kNoToken || right_id == kNoToken || whole_id == kNoToken) {
      const std::string_view missing = left_id == kNoToken ? left : right_id == kNoToken ? right : whole;
      return absl::InvalidArgumentError(absl::StrCat("merge ", rank, " ('", ToAbsl(left.substr(0, 100)), "', '",
                                                     ToAbsl(right.substr(0, 100)), "'): '",
                                                     ToAbsl(missing.substr(0, 200)), "' is not in the vocabulary"));
    }
    const uint64_t key = Key(left_id, right_id);
    size_t i = Hash(key) & model.mask_;
    while (model.merges_[i].id != kNoToken && model.merges_[i].key != key) i = (i + 1) & model.mask_;
    model.merges_[i] = {key, static_cast<uint32_t>(rank), whole_id};  // a merge listed twice has its later rank
  }
  return model;
}

const BytePairModel::Merge* BytePairModel::FindMerge(int32_t left, int32_t right) const {
  const uint64_t key = Key(left, right);
  for (size_t i = Hash(key) & mask_;; i = (i + 1) & mask_) {
    const Merge& merge = merges_[i];
    if (merge.key == key) return &merge;
    if (merge.id == kNoToken) return nullptr;
  }
}

uint32_t BytePairModel::RankOf(int32_t left, int32_t right) const {
  const Merge* merge = FindMerge(left, right);
  return merge == nullptr ? kNoRank : merge->rank;
}

void BytePairModel::SplitIntoSymbols(std::string_view word, std::vector<int32_t>* ids) const {
  ids->clear();
  bool after_unknown = false;
  const auto add = [&](int32_t id) {
    if (id == kNoToken) {
      if (options_.unk_id != kNoToken && !(after_unknown && options_.fuse_unk)) ids->push_back(options_.unk_id);
      after_unknown = true;
    } else {
      ids->push_back(id);
      after_unknown = false;
    }
  };
  if (options_.byte_level) {
    for (const char byte : word) add(byte_ids_[static_cast<uint8_t>(byte)]);
  } else {
    for (size_t i = 0; i < word.size();) {
      const size_t begin = i;
      NextCodePoint(word, &i);
      add(vocabulary_->Find(word.substr(begin, i - begin)));
    }
  }
}

void BytePairModel::MergeShort(Scratch* scratch) const {
  std::vector<int32_t>& ids = scratch->ids;
  std::vector<uint32_t>& ranks = scratch->ranks;  // of the pair (i, i + 1)
  ranks.clear();
  for (size_t i = 0; i + 1 < ids.size(); ++i) ranks.push_back(RankOf(ids[i], ids[i + 1]));
  while (!ranks.empty()) {
    const size_t best = static_cast<size_t>(std::min_element(ranks.begin(), ranks.end()) - ranks.begin());
    if (ranks[best] == kNoRank) return;
    ids[best] = FindMerge(ids[best], ids[best + 1])->id;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
    ranks.erase(ranks.begin() + static_cast<ptrdiff_t>(best));
    if (best > 0) ranks[best - 1] = RankOf(ids[best - 1], ids[best]);
    if (best < ranks.size()) ranks[best] = RankOf(ids[best], ids[best + 1]);
  }
}

// The same with a linked list of symbols and a heap of pairs, in O(n log n).
void BytePairModel::MergeLong(Scratch* scratch) const {
  std::vector<int32_t>& ids = scratch->ids;
  const auto count = static_cast<int32_t>(ids.size());
  auto& heap =
      scratch->heap;  // (rank, position) in one integer, and the token that the pair had become when it was pushed
  const auto later = std::greater<std::pair<uint64_t, int32_t>>();
  scratch->previous.resize(ids.size());
  scratch->next.resize(ids.size());
  heap.clear();
  const auto push = [&](int32_t left, int32_t right) {
    const Merge* merge = FindMerge(ids[left], ids[right]);
    if (merge == nullptr) return;
    heap.emplace_back(static_cast<uint64_t>(merge->rank) << 32 | static_cast<uint32_t>(left), merge->id);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  for (int32_t i = 0; i < count; ++i) {
    scratch->previous[i] = i - 1;
    scratch->next[i] = i + 1 < count ? i + 1 : -1;
    if (i + 1 < count) push(i, i + 1);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto [order, id] = heap.back();
    heap.pop_back();
    const auto left = static_cast<int32_t>(order & 0xffffffff);
    const int32_t right = scratch->next[left];
    if (ids[left] == kNoToken || right < 0) continue;  // joined with its neighbour since
    const Merge* merge = FindMerge(ids[left], ids[right]);
    if (merge == nullptr || merge->id != id) continue;
    ids[left] = id;
    ids[right] = kNoToken;
    scratch->next[left] = scratch->next[right];
    if (scratch->next[left] >= 0) {
      scratch->previous[scratch->next[left]] = left;
      push(left, scratch->next[left]);
    }
    if (scratch->previous[left] >= 0) push(scratch->previous[left], left);
  }
  std::erase(ids, kNoToken);
}

void BytePairModel::Encode(std::string_view word, Scratch* scratch, std::vector<int32_t>* out) const {
  if (options_.ignore_merges) {
    std::string_view piece = word;
    if (options_.byte_level) {
      scratch->piece.clear();
      AppendByteLevel(word, &scratch->piece);
      piece = scratch->piece;
    }
    if (const int32_t id = vocabulary_->Find(piece); id != kNoToken) {
      out->push_back(id);
      return;
    }
  }
  SplitIntoSymbols(word, &scratch->ids);
  if (scratch->ids.size() <= kShortWord) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  out->insert(out->end(), scratch->ids.begin(), scratch->ids.end());
}

}  // namespace hone::model
