// From scored groups, as the coordinator hands them out, to sequences with rewards.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "learner/packing.h"
#include "learner/rl_options.h"

namespace hone::v1 {
class Group;
}  // namespace hone::v1

namespace hone::learner {

// One trajectory, beside its sequence.
struct RlSample {
  std::vector<float> rollout_logprobs;  // one per target
  std::optional<double> reward;         // nullopt: unscorable, or not finite
  std::vector<StepReward> steps;        // with process supervision
  bool in_loss = false;                 // scored, not masked, at least one sampled token
  bool on_policy = false;               // sampled by the version under training, whole
  int32_t group = 0;                    // place in the batch
};

struct RlBatch {
  // In group order, then sample order. A sequence's targets are its SAMPLED tokens, all of them, in the loss or not:
  // every one is compared with the rollout.
  std::vector<TrainingSequence> sequences;
  std::vector<RlSample> samples;  // one per sequence
  int32_t group_count = 0;        // DROPPED ones included
  int32_t dropped_groups = 0;
  int32_t zero_variance_groups = 0;
  int32_t excluded = 0;   // unscorable, or a reward that is not finite
  int32_t truncated = 0;  // left out by mask_truncated
  int32_t empty = 0;      // no sampled token
  // Versions between the one that sampled a token and the one under training: the sum over all tokens, and the most.
  int64_t staleness = 0, staleness_max = 0;
  int64_t tokens = 0;  // of which that is the sum
};

// `version` is the one under training, `vocab_size` and `max_positions` (0 = no limit) are the model's.
// INVALID_ARGUMENT, naming group and sample: arrays of unequal length, token ids outside of the vocabulary, a sequence
// beyond the model's context.
absl::StatusOr<RlBatch> BuildRlBatch(std::span<const v1::Group> groups, const RlOptions& options, int64_t version,
                                     int64_t vocab_size, int64_t max_positions);

}  // namespace hone::learner
