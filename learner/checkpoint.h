// Durable checkpoints. One is a folder <stage folder>/step-NNNNNN:
//
//   state.json                               what it is (CheckpointState), size and SHA-256 of every other file
//   model/                                   the fp32 masters as a Hugging Face folder, loadable by any program
//   optimizer/first_moment.safetensors       AdamW's moments as they are stored, under the parameters' names:
//   optimizer/second_moment.safetensors        F32, BF16, or U8 codes beside <name>.scale
//   previous/                                in one_step_off: the weights of the step before, in fp32, as samplers
//                                              read them
//
// Invariants:
//   1. A folder of that name is complete: it is written as <name>.<learner epoch>.tmp, fsynced file by file, and
//      renamed; it is renamed before it is removed. Epochs never come twice, so a fenced learner that is still alive
//      writes elsewhere.
//   2. Loading verifies every checksum, and the root hash, before anything is used.
//   3. What follows from a checkpoint is bit for bit what follows from the state that it was made of.
// Crash points: checkpoint.before_write, checkpoint.before_rename, checkpoint.after_rename (docs/durability.md).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "learner/model_source.h"
#include "learner/moments.h"
#include "model/model.h"

namespace hone::learner {

struct CheckpointState {
  std::string run;
  std::string stage;
  std::string spec_hash;  // of the stage's resolved spec: SpecHash
  int64_t version = 0;    // policy version of these weights
  int64_t parent_version = -1;
  int32_t step = 0;  // steps of the stage that these weights contain
  int64_t optimizer_updates = 0;
  int64_t optimizer_skipped = 0;
  int64_t journal_position = 0;  // after the last group that these weights have seen
  std::string root_hash;
  // What the stage reads beside the weights that it starts from: SHA-256 by name. Who goes on must find the same.
  std::map<std::string, std::string> inputs;
  std::string previous_root_hash;  // of the weights of the step before; "" where they are not there
};

struct Checkpoint {
  CheckpointState state;
  LoadedModel model;
  bool has_moments = false;
  Moments first_moment, second_moment;  // empty where not loaded or not there
  model::FlatTensor previous;           // the same
};

// "step-000020"
std::string CheckpointName(int32_t step);

// What a checkpoint is made of; nothing is owned. Null moments: none are written.
struct CheckpointSource {
  int64_t learner_epoch = 0;  // of who writes
  const CheckpointState* state = nullptr;
  const model::ModelConfig* config = nullptr;
  const ModelFiles* files = nullptr;
  const model::FlatTensor* masters = nullptr;
  const Moments* first_moment = nullptr;
  const Moments* second_moment = nullptr;
  const model::FlatTensor* previous = nullptr;  // null: not written
};

// Writes <parent_directory>/<CheckpointName(step)> and returns its path. One that is there already is kept where it is
// whole and the same, and replaced otherwise: it is damaged or the work of a run that was abandoned. On failure nothing
// of that name has changed, and the temporary folder is gone. What learners of earlier epochs left unfinished in
// `parent_directory` is removed.
absl::StatusOr<std::string> WriteCheckpoint(const CheckpointSource& source, const std::string& parent_directory);

enum class CheckpointParts { kWeights, kAll };
// NOT_FOUND: no such folder. INVALID_ARGUMENT: not a checkpoint of Hone's. DATA_LOSS: a file is missing, truncated or
// altered. The message names the file, what was expected and what came.
absl::StatusOr<Checkpoint> LoadCheckpoint(const std::string& path, CheckpointParts parts);

// True where `path` is "<folder>/step-..." itself, and nothing below or beside it.
bool IsCheckpointOf(const std::string& folder, const std::string& path);

// Removes a checkpoint: at once for whoever looks for one, by a rename to "<path>.<learner epoch>.old.tmp", then its
// files. What a crash leaves is removed by a later learner. OK where it is gone already.
absl::Status RemoveCheckpoint(const std::string& path, int64_t learner_epoch);

}  // namespace hone::learner
