#include "learner/packing.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/check.h"

namespace hone::learner {
namespace {

int64_t FedTokens(const TrainingSequence& sequence) { return static_cast<int64_t>(sequence.tokens.size()) - 1; }

bool IsTrained(const TrainingSequence& sequence) { return !sequence.targets.empty() && sequence.tokens.size() >= 2; }

// Rows before the one that predicts the first target: no two sequences need different targets of them.
int64_t RowsBeforeTargets(const TrainingSequence& sequence) { return int64_t{sequence.targets.front()} - 1; }

// Tokens that both begin with and may share.
int64_t SharedTokens(const TrainingSequence& a, const TrainingSequence& b) {
  if (a.group < 0 || a.group != b.group) return 0;
  const int64_t limit = std::min(RowsBeforeTargets(a), RowsBeforeTargets(b));
  int64_t shared = 0;
  while (shared < limit && a.tokens[static_cast<size_t>(shared)] == b.tokens[static_cast<size_t>(shared)]) ++shared;
  return shared >= kLeastSharedTokens ? shared : 0;
}

// Tokens that the first sequence of `order` should share with as many after it as have them all: the length that saves
// most rows; 0 where none does.
int64_t BestPrefix(std::span<const TrainingSequence> sequences, std::span<const int32_t> order) {
  int64_t best = 0, best_saved = 0, common = std::numeric_limits<int64_t>::max();
  for (size_t followers = 1; followers < order.size(); ++followers) {
    common = std::min(common, SharedTokens(sequences[static_cast<size_t>(order[0])],
                                           sequences[static_cast<size_t>(order[followers])]));
    if (common == 0) break;
    const int64_t saved = common * static_cast<int64_t>(followers);
    if (saved > best_saved) {
      best = common;
      best_saved = saved;
    }
  }
  return best;
}

// Fills one micro-batch.
class Packer {
 public:
  Packer(MicroBatch* batch, bool share_rows) : batch_(batch), share_rows_(share_rows) {
    batch_->packed.starts.push_back(0);
  }

  int64_t rows() const { return batch_->packed.starts.back(); }
  // Rows that `sequence` would add.
  int64_t RowsOf(const TrainingSequence& sequence) const { return FedTokens(sequence) - SharedWith(sequence); }

  bool Shares(const TrainingSequence& sequence) const { return SharedWith(sequence) > 0; }

  // Adds sequences[order[0]], which may open a prefix that those after it share.
  void Add(std::span<const TrainingSequence> sequences, std::span<const int32_t> order) {
    const int32_t index = order.front();
    const TrainingSequence& sequence = sequences[static_cast<size_t>(index)];
    int64_t shared = SharedWith(sequence);
    if (shared == 0 && share_rows_) {
      shared = BestPrefix(sequences, order);
      prefix_ = -1;
      if (shared > 0) {
        first_ = &sequence;
        prefix_rows_ = shared;
        prefix_ = AddSegment(sequence, 0, shared, -1);
      }
    }
    const int32_t segment = AddSegment(sequence, shared, FedTokens(sequence), shared > 0 ? prefix_ : -1);
    AddTargets(sequence, shared, batch_->packed.starts[static_cast<size_t>(segment)]);
    batch_->members.push_back(index);
    batch_->target_count += static_cast<int64_t>(sequence.targets.size());
    batch_->fed_tokens += FedTokens(sequence);
  }

 private:
  // Tokens of the open prefix where the sequence has all of them; else 0.
  int64_t SharedWith(const TrainingSequence& sequence) const {
    if (prefix_ < 0) return 0;
    return SharedTokens(*first_, sequence) >= prefix_rows_ ? prefix_rows_ : 0;
  }

  int32_t AddSegment(const TrainingSequence& sequence, int64_t begin, int64_t end, int32_t prefix) {
    model::PackedSequences& packed = batch_->packed;
    packed.tokens.insert(packed.tokens.end(), sequence.tokens.begin() + begin, sequence.tokens.begin() + end);
    packed.targets.resize(packed.tokens.size(), -1);
    packed.starts.push_back(static_cast<int64_t>(packed.tokens.size()));
    packed.prefixes.push_back(prefix);
    return static_cast<int32_t>(packed.prefixes.size()) - 1;
  }

  // Into the segment that begins at `first_row` with the token at `position`.
  void AddTargets(const TrainingSequence& sequence, int64_t position, int64_t first_row) {
    int32_t previous = 0;
    for (const int32_t target : sequence.targets) {
      HONE_CHECK(target > previous && target <= FedTokens(sequence)) << "target position " << target;
      batch_->packed.targets[static_cast<size_t>(first_row + target - 1 - position)] =
          sequence.tokens[static_cast<size_t>(target)];
      previous = target;
    }
  }

  MicroBatch* batch_;
  const bool share_rows_;
  const TrainingSequence* first_ = nullptr;  // the sequence that the open prefix was taken from
  int32_t prefix_ = -1;                      // its segment; -1: none is open
  int64_t prefix_rows_ = 0;
};

// `unit` behind what `batch` holds already.
void Append(const MicroBatch& unit, MicroBatch* batch) {
  const model::PackedSequences& from = unit.packed;
  model::PackedSequences& to = batch->packed;
  const int64_t row = static_cast<int64_t>(to.tokens.size());
  const int32_t segment = static_cast<int32_t>(to.prefixes.size());
  to.tokens.insert(to.tokens.end(), from.tokens.begin(), from.tokens.end());
  to.targets.insert(to.targets.end(), from.targets.begin(), from.targets.end());
  if (to.starts.empty()) to.starts = to.sum_starts = {0};
  for (size_t s = 1; s < from.starts.size(); ++s) to.starts.push_back(row + from.starts[s]);
  for (const int32_t prefix : from.prefixes) to.prefixes.push_back(prefix < 0 ? prefix : segment + prefix);
  to.sum_starts.push_back(to.starts.back());
  batch->members.insert(batch->members.end(), unit.members.begin(), unit.members.end());
  batch->target_count += unit.target_count;
  batch->fed_tokens += unit.fed_tokens;
}

std::vector<MicroBatch> PackWholeUnits(std::span<const TrainingSequence> sequences, std::span<const int32_t> trained,
                                       const MicroBatchRule& rule) {
  std::vector<MicroBatch> batches;
  for (size_t i = 0; i < trained.size();) {
    MicroBatch unit;
    Packer packer(&unit, rule.share_rows);
    packer.Add(sequences, trained.subspan(i++));
    while (i < trained.size() && packer.Shares(sequences[static_cast<size_t>(trained[i])])) {
      packer.Add(sequences, trained.subspan(i++));
    }
    const int64_t rows = static_cast<int64_t>(unit.packed.tokens.size());
    if (batches.empty() || static_cast<int64_t>(batches.back().packed.tokens.size()) + rows > rule.token_budget) {
      batches.emplace_back();
    }
    Append(unit, &batches.back());
  }
  return batches;
}

}  // namespace

std::vector<MicroBatch> PackMicroBatches(std::span<const TrainingSequence> sequences, std::span<const int32_t> order,
                                         const MicroBatchRule& rule) {
  std::vector<int32_t> trained;
  for (const int32_t index : order) {
    if (IsTrained(sequences[static_cast<size_t>(index)])) trained.push_back(index);
  }
  if (rule.whole_units) return PackWholeUnits(sequences, trained, rule);
  std::vector<MicroBatch> batches;
  std::optional<Packer> packer;  // of the last one
  for (size_t i = 0; i < trained.size(); ++i) {
    const TrainingSequence& sequence = sequences[static_cast<size_t>(trained[i])];
    if (!packer.has_value() || packer->rows() + packer->RowsOf(sequence) > rule.token_budget) {
      batches.emplace_back();
      packer.emplace(&batches.back(), rule.share_rows);
    }
    packer->Add(sequences, std::span(trained).subspan(i));
  }
  return batches;
}

int64_t MicroBatchTokenBudget(size_t activation_bytes_per_token) {
  constexpr int64_t kActivationBytes = int64_t{1} << 30;
  const int64_t bytes = std::max<int64_t>(1, static_cast<int64_t>(activation_bytes_per_token));
  return std::clamp<int64_t>(kActivationBytes / bytes, 256, 16384);
}

}  // namespace hone::learner
