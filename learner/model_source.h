// Where a piece of work gets its weights from: a Hugging Face folder, a random initialisation, a checkpoint.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "model/model.h"
#include "weight_sync/weight_channel.h"

namespace hone::v1 {
class WeightsOrigin;
}

namespace hone::learner {

// A model with its fp32 masters and the files that tokenizer, templates and other programs need beside them.
struct LoadedModel {
  model::ModelConfig config;
  model::FlatTensor masters;
  ModelFiles files;
};

// config.json, generation_config.json, tokenizer.json, tokenizer_config.json and the like of a folder; absent ones are
// left out.
absl::StatusOr<ModelFiles> ReadModelFiles(const std::string& directory);
// Writes them, each atomically, over files of the same names; config.json is left out (SaveParameters writes it).
absl::Status WriteModelFiles(const ModelFiles& files, const std::string& directory);

// NOT_FOUND, INVALID_ARGUMENT, DATA_LOSS: the message names folder and file. `seed` is the run's, for a random
// initialisation.
absl::StatusOr<LoadedModel> LoadOrigin(const v1::WeightsOrigin& origin, uint64_t seed);

}  // namespace hone::learner
