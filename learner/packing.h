// Sequences into micro-batches: packed end to end under a token budget, in the order given.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"

namespace hone::learner {

// One sequence of token ids, with the positions that need a log-prob.
struct TrainingSequence {
  std::vector<int32_t> tokens;  // prompt and completion
  // Ascending positions p >= 1 in `tokens` whose log-prob given tokens[0, p) is wanted.
  std::vector<int32_t> targets;
  // Sequences of one group that follow one another share the rows of the tokens that they begin with; -1: of none.
  int32_t group = -1;
};

// Some sequences as one batch for TrainingModel. The last token of a sequence predicts nothing and is not fed.
// Log-probs come sequence by sequence, in order of `members`, and inside of one in order of its targets.
struct MicroBatch {
  model::PackedSequences packed;
  std::vector<int32_t> members;  // indices into the sequences given
  int64_t target_count = 0;
  int64_t fed_tokens = 0;  // of the members, each counted whole; packed.tokens holds what is shared once
};

struct MicroBatchRule {
  int64_t token_budget = 0;
  bool whole_units = false;
  bool share_rows = true;  // false: as if no sequence were of a group
};

// Fewer tokens in common are not worth a segment of their own.
inline constexpr int64_t kLeastSharedTokens = 16;

// Takes `order` (indices into `sequences`) from the front and opens a new micro-batch where the next sequence would
// exceed the budget; a longer one stands alone. Sequences without targets, or with fewer than two tokens, are left
// out. Where the next sequences are of one group, the tokens that they have in common, up to the row of the first
// target of any, are a segment that the rest of each follows: of the possible lengths that which saves most rows.
// (Gradients of such a prompt are summed in the order of the sequences.) The cut depends on the sequences and the
// budget alone, so the bits of the gradients depend on data and run spec alone.
// With rule.whole_units what shares rows is a unit, a sequence that shares none is one by itself: units are never cut,
// one beyond the budget stands alone, and each has its sums apart (PackedSequences::sum_starts). Gradients do not
// depend on the budget then.
std::vector<MicroBatch> PackMicroBatches(std::span<const TrainingSequence> sequences, std::span<const int32_t> order,
                                         const MicroBatchRule& rule);

// Tokens of a micro-batch for a model that keeps `activation_bytes_per_token`: 1 GiB of activations, between 256 and
// 16384 tokens. A function of the model alone.
int64_t MicroBatchTokenBudget(size_t activation_bytes_per_token);

}  // namespace hone::learner
