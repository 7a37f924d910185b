#include "learner/prompt_room.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "hone/v1/run.pb.h"

namespace hone::learner {
namespace {

absl::Status CheckSampling(const std::string& path, const v1::SamplingSpec& sampling, int max_positions) {
  if (sampling.max_new_tokens() < max_positions) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      path, ".sampling.max_new_tokens: expected at most ", max_positions - 1, ", for the model's context has ",
      max_positions, " tokens and a prompt needs room in it, got ", sampling.max_new_tokens()));
}

// Of a stage that trains.
template <typename Training>
absl::Status CheckPeriodic(const std::string& path, const Training& training, int max_positions) {
  if (!training.has_evaluate()) return absl::OkStatus();
  return CheckSampling(path + ".evaluate.evaluation", training.evaluate().evaluation().sampling(), max_positions);
}

}  // namespace

absl::Status CheckPromptRoom(const v1::RunSpec& spec, int index, int max_positions) {
  const v1::StageSpec& stage = spec.stages(index);
  const std::string path = absl::StrCat("stages[", index, "]");
  switch (stage.kind_case()) {
    case v1::StageSpec::kPretrain:
      return CheckPeriodic(path + ".pretrain", stage.pretrain(), max_positions);
    case v1::StageSpec::kSft:
      return CheckPeriodic(path + ".sft", stage.sft(), max_positions);
    case v1::StageSpec::kRl:
      HONE_RETURN_IF_ERROR(CheckSampling(path + ".rl", stage.rl().sampling(), max_positions));
      return CheckPeriodic(path + ".rl", stage.rl(), max_positions);
    case v1::StageSpec::kEvaluate:
      return CheckSampling(path + ".evaluate.evaluation", stage.evaluate().evaluation().sampling(), max_positions);
    case v1::StageSpec::kExport:
    case v1::StageSpec::KIND_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

absl::Status CheckPromptRoomFrom(const v1::RunSpec& spec, int index, int max_positions) {
  std::set<std::string> same_model = {spec.stages(index).name()};
  HONE_RETURN_IF_ERROR(CheckPromptRoom(spec, index, max_positions));
  for (int i = index + 1; i < spec.stages_size(); ++i) {
    if (!spec.stages(i).has_from() || !same_model.contains(spec.stages(i).from())) continue;
    same_model.insert(spec.stages(i).name());
    HONE_RETURN_IF_ERROR(CheckPromptRoom(spec, i, max_positions));
  }
  return absl::OkStatus();
}

}  // namespace hone::learner
