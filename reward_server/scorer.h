// Scores a group of completions by its reward specs: the pure function that RewardService serves.
#pragma once

#include "base/status.h"

namespace hone::v1 {
class ScoreGroupRequest;
class ScoreGroupResponse;
}  // namespace hone::v1

namespace hone::reward {

// One verdict for each completion, in order; each component with its value, weight and reason. A verdict is UNSCORABLE
// where a component of weight other than 0 is, else its reward is the weighted sum. INVALID_ARGUMENT, with the field's
// path: no rewards, a spec without kind, a name twice, a weight that is not finite, an unknown enum value, a pattern
// that does not compile, more than 4,096 completions.
absl::StatusOr<v1::ScoreGroupResponse> ScoreGroup(const v1::ScoreGroupRequest& request);

}  // namespace hone::reward
