// Work without training.
#pragma once

#include "learner/work_session.h"

namespace hone::learner {

// Publishes the starting weights as `first_version`, waits for their release (the evaluation of an `evaluate` stage),
// finishes.
absl::Status ServeWeights(WorkSession* session);

// Writes the starting weights as a Hugging Face folder and finishes. The folder appears whole under its name; one that
// an earlier export made there is replaced, anything else there is ALREADY_EXISTS.
absl::Status ExportWeights(WorkSession* session);

}  // namespace hone::learner
