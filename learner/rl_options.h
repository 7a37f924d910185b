// The algorithm of an rl stage, with plain types.
#pragma once

#include "base/status.h"
#include "learner/algorithms/estimator.h"
#include "learner/algorithms/objective.h"

namespace hone::v1 {
class RlStage;
}  // namespace hone::v1

namespace hone::learner {

struct RlOptions {
  Objective objective;
  AdvantageOptions advantage;
  double discount = 1;
  bool rollout_is_old_policy = false;  // ratios are to the weights that sampled, not to those at the step's start
  bool mask_truncated = false;
  int minibatches = 1;
  float temperature = 1;
  int64_t max_new_tokens = 0;

  bool has_reference() const { return objective.kl_coefficient > 0; }
  bool kl_in_reward() const { return has_reference() && objective.kl_placement != KlPlacement::kLoss; }
};

// `stage` is resolved; what it leaves unset has run.proto's default. INVALID_ARGUMENT where a value makes no training
// step (temperature 0, fewer than one minibatch).
absl::StatusOr<RlOptions> MakeRlOptions(const v1::RlStage& stage);

}  // namespace hone::learner
