#include "cli/model_folder.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/status.h"
#include "coordinator/run_config/schema_words.h"
#include "learner/prompt_room.h"
#include "learner/rl_options.h"
#include "model/config.h"

namespace hone::cli {

std::string ModelFolder(const v1::RunSpec& spec, const v1::StageSpec& stage) {
  if (stage.has_from_checkpoint()) return JoinPath(stage.from_checkpoint(), "model");
  if (stage.has_from()) {
    for (const v1::StageSpec& earlier : spec.stages()) {
      if (&earlier == &stage) break;
      if (earlier.name() == stage.from()) return ModelFolder(spec, earlier);
    }
  }
  return spec.model().path();
}

absl::Status CheckWithLearner(const v1::RunSpec& resolved) {
  for (int i = 0; i < resolved.stages_size(); ++i) {
    const v1::StageSpec& stage = resolved.stages(i);
    if (const absl::Status status = stage.has_rl() ? learner::MakeRlOptions(stage.rl()).status() : absl::OkStatus();
        !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("stages[", i, "].", status.message()));
    }
    const absl::StatusOr<model::ModelConfig> config = model::LoadModelConfig(ModelFolder(resolved, stage));
    if (config.ok()) HONE_RETURN_IF_ERROR(learner::CheckPromptRoom(resolved, i, config->max_positions));
  }
  return absl::OkStatus();
}

std::vector<absl::Status> MissingInputs(const v1::RunSpec& resolved) {
  std::vector<absl::Status> missing;
  std::set<std::string> models, sets;
  for (int i = 0; i < resolved.stages_size(); ++i) {
    const v1::StageSpec& stage = resolved.stages(i);
    const std::string folder = ModelFolder(resolved, stage);
    if (models.insert(folder).second) {
      const std::string field =
          folder == resolved.model().path() ? "model.path" : absl::StrCat("stages[", i, "].from_checkpoint");
      if (const absl::Status read = model::LoadModelConfig(folder).status(); !read.ok()) {
        missing.push_back(Annotate(read, field));
      }
    }
    for (const std::string& name : DatasetsOf(stage)) sets.insert(name);
  }
  for (const std::string& name : sets) {
    const auto dataset = resolved.datasets().find(name);
    if (dataset == resolved.datasets().end()) continue;
    for (int i = 0; i < dataset->second.sources_size(); ++i) {
      const std::string& path = dataset->second.sources(i).path();
      if (FileExists(path)) continue;
      missing.push_back(absl::NotFoundError(
          absl::StrCat("datasets.", name, ".sources[", i, "].path: ", path,
                       ": no such file (relative paths start at the folder that the coordinator was started in)")));
    }
  }
  return missing;
}

}  // namespace hone::cli
