// The algorithm of an rl stage, with plain types.
#pragma once

#include <cstdint>
#include <set>
#include <string>

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
  bool process = false;                   // advantages are made from the rewards of steps
  std::set<std::string> step_components;  // that judge steps; what the others add up to is one more, at the end
  bool outcome_step = false;              // there are others
  bool rollout_is_old_policy = false;     // ratios are to the weights that sampled, not to those at the step's start
  bool mask_truncated = false;
  int32_t reference_refresh_steps = 0;  // 0: the reference stays the stage's start
  int minibatches = 1;
  float temperature = 1;
  int64_t max_new_tokens = 0;

  bool has_reference() const { return objective.kl_coefficient > 0; }
  // The step whose weights are the reference after `step` steps: 0, or the last that renewed it. (Retention spares that
  // step's checkpoint by the same rule: coordinator/core/stage_plan.h.)
  int32_t ReferenceStep(int32_t step) const {
    return reference_refresh_steps > 0 ? step / reference_refresh_steps * reference_refresh_steps : 0;
  }
  bool kl_in_reward() const { return has_reference() && objective.kl_placement != KlPlacement::kLoss; }
};

// `stage` is resolved; what it leaves unset has run.proto's default. INVALID_ARGUMENT where a value makes no training
// step (temperature 0, fewer than one minibatch).
absl::StatusOr<RlOptions> MakeRlOptions(const v1::RlStage& stage);

}  // namespace hone::learner
