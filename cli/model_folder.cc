#include "cli/model_folder.h"

#include "base/files.h"
#include "base/status.h"
#include "learner/prompt_room.h"
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

absl::Status CheckAgainstModels(const v1::RunSpec& resolved) {
  for (int i = 0; i < resolved.stages_size(); ++i) {
    const absl::StatusOr<model::ModelConfig> config = model::LoadModelConfig(ModelFolder(resolved, resolved.stages(i)));
    if (config.ok()) HONE_RETURN_IF_ERROR(learner::CheckPromptRoom(resolved, i, config->max_positions));
  }
  return absl::OkStatus();
}

}  // namespace hone::cli
