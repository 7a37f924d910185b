#include "coordinator/run_config/stage_kind.h"

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

}  // namespace hone
