// The models and data that a run's stages read, as far as they are on this machine.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hone/v1/run.pb.h"

namespace hone::cli {

// The folder with the config.json of what the stage starts from: a stage does not change a model's shape.
std::string ModelFolder(const v1::RunSpec& spec, const v1::StageSpec& stage);

// Refuses what the learner would refuse when it begins, as far as it can be known before: INVALID_ARGUMENT with the
// field's path where an algorithm's own piece is not built in, or max_new_tokens leaves no room for a prompt. A model
// that is not there yet, or cannot be read, is passed over.
absl::Status CheckWithLearner(const v1::RunSpec& resolved);

// What the run reads and does not find from the current folder: one error for each field, its path first. A model must
// have a config.json that can be read, a data set's file must be there.
std::vector<absl::Status> MissingInputs(const v1::RunSpec& resolved);

}  // namespace hone::cli
