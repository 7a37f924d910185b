// Whether prompts have room in a model's context beside what a stage samples.
#pragma once

#include "absl/status/status.h"

namespace hone::v1 {
class RunSpec;
}  // namespace hone::v1

namespace hone::learner {

// INVALID_ARGUMENT, with the field's path, where stage `index` of the resolved `spec` asks for so many new tokens that
// a context of `max_positions` holds no prompt beside them: every group of it would be dropped.
absl::Status CheckPromptRoom(const v1::RunSpec& spec, int index, int max_positions);

// The same of stage `index` and of all that start from it, directly or not: a stage does not change a model's context.
absl::Status CheckPromptRoomFrom(const v1::RunSpec& spec, int index, int max_positions);

}  // namespace hone::learner
