// From losses of tokens to the loss of a minibatch: the weight of one token's term in the sum.
#pragma once

#include <cstdint>

namespace hone::learner {

enum class LossAggregation {
  kTokenMean,              // sum over tokens / tokens of the minibatch (DAPO)
  kSequenceMeanTokenMean,  // mean over sequences of the mean over tokens (GRPO)
  kSequenceMeanTokenSum,   // mean over sequences of the sum over tokens
  kConstant,               // sum / (sequences * max_new_tokens) (Dr. GRPO)
};

// What enters the loss in one minibatch. A sequence counts where at least one of its tokens does.
struct LossExtent {
  int64_t sequences = 0;
  int64_t tokens = 0;
  int64_t max_new_tokens = 0;
};

// The factor of each token of a sequence with `sequence_tokens` tokens in the loss. 0 where nothing enters the loss.
double TokenWeight(LossAggregation aggregation, const LossExtent& extent, int64_t sequence_tokens);

}  // namespace hone::learner
