#include "learner/model_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "hone/v1/coordinator.pb.h"
#include "learner/checkpoint.h"
#include "model/formats/json.h"

namespace hone::learner {
namespace {

constexpr const char* kModelFileNames[] = {
    "added_tokens.json", "chat_template.jinja",     "config.json",    "generation_config.json",
    "merges.txt",        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    "vocab.json",
};

}  // namespace

absl::StatusOr<ModelFiles> ReadModelFiles(const std::string& directory) {
  ModelFiles files;
  for (const char* name : kModelFileNames) {
    const std::string path = JoinPath(directory, name);
    if (!FileExists(path)) continue;
    HONE_ASSIGN_OR_RETURN(files[name], ReadFile(path, model::kMaxModelJsonBytes));
  }
  return files;
}

absl::Status WriteModelFiles(const ModelFiles& files, const std::string& directory) {
  for (const auto& [name, contents] : files) {
    if (name == "config.json") continue;
    HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(directory, name), contents));
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadedModel> LoadOrigin(const v1::WeightsOrigin& origin, uint64_t seed) {
  if (!origin.checkpoint_path().empty()) {
    HONE_ASSIGN_OR_RETURN(Checkpoint checkpoint, LoadCheckpoint(origin.checkpoint_path(), CheckpointParts::kWeights));
    return std::move(checkpoint.model);
  }
  const std::string& directory = origin.model_path();
  if (directory.empty()) return absl::InvalidArgumentError("the work names neither a model folder nor a checkpoint");
  if (!DirectoryExists(directory)) {
    return absl::NotFoundError(absl::StrCat("model folder '", directory, "' does not exist"));
  }
  LoadedModel loaded;
  HONE_ASSIGN_OR_RETURN(loaded.config, model::LoadModelConfig(directory));
  HONE_ASSIGN_OR_RETURN(loaded.files, ReadModelFiles(directory));
  if (origin.random_init()) {
    loaded.masters = model::RandomParameters(loaded.config, seed);
  } else {
    HONE_ASSIGN_OR_RETURN(loaded.masters, model::LoadParameters(loaded.config, directory));
  }
  return loaded;
}

}  // namespace hone::learner
