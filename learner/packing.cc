#include "learner/packing.h"

#include <algorithm>

#include "base/check.h"

namespace hone::learner {
namespace {

void Append(const TrainingSequence& sequence, int32_t index, MicroBatch* batch) {
  model::PackedSequences& packed = batch->packed;
  const size_t fed = sequence.tokens.size() - 1;
  const size_t first_row = packed.tokens.size();
  packed.tokens.insert(packed.tokens.end(), sequence.tokens.begin(), sequence.tokens.end() - 1);
  packed.targets.resize(first_row + fed, -1);
  int32_t previous = 0;
  for (const int32_t position : sequence.targets) {
    HONE_CHECK(position > previous && static_cast<size_t>(position) <= fed) << "target position " << position;
    packed.targets[first_row + static_cast<size_t>(position) - 1] = sequence.tokens[static_cast<size_t>(position)];
    previous = position;
  }
  packed.starts.push_back(static_cast<int64_t>(packed.tokens.size()));
  batch->members.push_back(index);
  batch->target_count += static_cast<int64_t>(sequence.targets.size());
}

}  // namespace

std::vector<MicroBatch> PackMicroBatches(std::span<const TrainingSequence> sequences, std::span<const int32_t> order,
                                         int64_t token_budget) {
  std::vector<MicroBatch> batches;
  for (const int32_t index : order) {
    const TrainingSequence& sequence = sequences[static_cast<size_t>(index)];
    if (sequence.targets.empty() || sequence.tokens.size() < 2) continue;
    const int64_t fed = static_cast<int64_t>(sequence.tokens.size()) - 1;
    if (batches.empty() || batches.back().packed.starts.back() + fed > token_budget) {
      batches.emplace_back();
      batches.back().packed.starts.push_back(0);
    }
    Append(sequence, index, &batches.back());
  }
  return batches;
}

int64_t MicroBatchTokenBudget(size_t activation_bytes_per_token) {
  constexpr int64_t kActivationBytes = int64_t{2} << 30;
  const int64_t bytes = std::max<int64_t>(1, static_cast<int64_t>(activation_bytes_per_token));
  return std::clamp<int64_t>(kActivationBytes / bytes, 256, 16384);
}

}  // namespace hone::learner
