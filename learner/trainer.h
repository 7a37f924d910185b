// The loops of the training stages.
#pragma once

#include "learner/work_session.h"

namespace hone::learner {

// How a piece of work ended. An error status is for the caller to report as WORK_OUTCOME_FAILED, except ABORTED (this
// learner was fenced) and CANCELLED (shutting down).
//
// pretrain and sft: publishes where the stage's evaluation asks for it and at the end, and waits there for the release.
absl::Status TrainSupervised(WorkSession* session);
// rl: publishes the start and every step; FetchBatch waits for groups and evaluation alike.
absl::Status TrainRl(WorkSession* session);

}  // namespace hone::learner
