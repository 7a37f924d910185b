#include "coordinator/run_config/schema_words.h"

#include "absl/strings/ascii.h"

namespace hone {

std::string StageKindName(const v1::StageSpec& stage) {
  switch (stage.kind_case()) {
    case v1::StageSpec::kPretrain:
      return "pretrain";
    case v1::StageSpec::kSft:
      return "sft";
    case v1::StageSpec::kRl:
      return "rl";
    case v1::StageSpec::kEvaluate:
      return "evaluate";
    case v1::StageSpec::kExport:
      return "export";
    case v1::StageSpec::KIND_NOT_SET:
      break;
  }
  return "";
}

bool IsTrainingStage(const v1::StageSpec& stage) { return stage.has_pretrain() || stage.has_sft() || stage.has_rl(); }

std::vector<std::string> DatasetsOf(const v1::StageSpec& stage) {
  std::vector<std::string> names;
  const auto add_training = [&names](const auto& training) {
    names.push_back(training.dataset());
    if (training.has_evaluate()) names.push_back(training.evaluate().evaluation().dataset());
  };
  if (stage.has_pretrain()) add_training(stage.pretrain());
  if (stage.has_sft()) add_training(stage.sft());
  if (stage.has_rl()) add_training(stage.rl());
  if (stage.has_evaluate()) names.push_back(stage.evaluate().evaluation().dataset());
  return names;
}

std::string RunStateName(v1::RunState state) {
  std::string name = v1::RunState_Name(state);
  constexpr size_t kPrefix = sizeof("RUN_STATE_") - 1;
  return name.size() > kPrefix ? absl::AsciiStrToLower(name.substr(kPrefix)) : "unknown";
}

bool IsFinal(v1::RunState state) {
  return state == v1::RUN_STATE_STOPPED || state == v1::RUN_STATE_SUCCEEDED || state == v1::RUN_STATE_FAILED;
}

}  // namespace hone
