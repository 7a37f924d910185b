#include "learner/algorithms/aggregation.h"

namespace hone::learner {

double TokenWeight(LossAggregation aggregation, const LossExtent& extent, int64_t sequence_tokens) {
  if (sequence_tokens == 0 || extent.tokens == 0 || extent.sequences == 0) return 0;
  const double sequences = static_cast<double>(extent.sequences);
  switch (aggregation) {
    case LossAggregation::kTokenMean:
      return 1.0 / static_cast<double>(extent.tokens);
    case LossAggregation::kSequenceMeanTokenMean:
      return 1.0 / (sequences * static_cast<double>(sequence_tokens));
    case LossAggregation::kSequenceMeanTokenSum:
      return 1.0 / sequences;
    case LossAggregation::kConstant:
      break;
  }
  return extent.max_new_tokens > 0 ? 1.0 / (sequences * static_cast<double>(extent.max_new_tokens)) : 0.0;
}

}  // namespace hone::learner
