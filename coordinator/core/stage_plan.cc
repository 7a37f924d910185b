#include "coordinator/core/stage_plan.h"

#include <algorithm>

namespace hone::coordinator {
namespace {

const v1::SftStage* Supervised(const v1::StageSpec& stage) {
  if (stage.kind_case() == v1::StageSpec::kPretrain) return &stage.pretrain();
  if (stage.kind_case() == v1::StageSpec::kSft) return &stage.sft();
  return nullptr;
}

}  // namespace

int32_t StepsTotal(const v1::StageSpec& stage) {
  if (const v1::SftStage* supervised = Supervised(stage)) return supervised->steps();
  return stage.kind_case() == v1::StageSpec::kRl ? stage.rl().steps() : 0;
}

const v1::OptimizerSpec* OptimizerOf(const v1::StageSpec& stage) {
  if (const v1::SftStage* supervised = Supervised(stage)) return &supervised->optimizer();
  return stage.kind_case() == v1::StageSpec::kRl ? &stage.rl().optimizer() : nullptr;
}

const v1::PeriodicEvalSpec* PeriodicEvaluation(const v1::StageSpec& stage) {
  if (const v1::SftStage* supervised = Supervised(stage)) {
    return supervised->has_evaluate() ? &supervised->evaluate() : nullptr;
  }
  return stage.kind_case() == v1::StageSpec::kRl && stage.rl().has_evaluate() ? &stage.rl().evaluate() : nullptr;
}

const v1::EvaluationSpec* EvaluationOf(const v1::StageSpec& stage) {
  if (stage.kind_case() == v1::StageSpec::kEvaluate) return &stage.evaluate().evaluation();
  const v1::PeriodicEvalSpec* periodic = PeriodicEvaluation(stage);
  return periodic != nullptr ? &periodic->evaluation() : nullptr;
}

bool EvaluationDue(const v1::StageSpec& stage, int32_t step, int32_t last_step) {
  if (stage.kind_case() == v1::StageSpec::kEvaluate) return step == 0;
  const v1::PeriodicEvalSpec* periodic = PeriodicEvaluation(stage);
  if (periodic == nullptr) return false;
  if (step == 0) return periodic->at_start();
  if (periodic->every_steps() > 0 && step % periodic->every_steps() == 0) return true;
  const int32_t total = StepsTotal(stage);
  const bool is_end = total > 0 ? step == total : true;
  return periodic->at_end() && (is_end || step == last_step);
}

int32_t Lag(const v1::StageSpec& stage) { return stage.rl().mode() == v1::RL_MODE_ONE_STEP_OFF ? 1 : 0; }

int32_t SamplingStep(const v1::StageSpec& stage, int32_t step) { return std::max(0, step - 1 - Lag(stage)); }

int32_t ReferenceStep(const v1::StageSpec& stage, int32_t step) {
  const int32_t every = stage.rl().algorithm().reference_refresh_steps();
  return every > 0 ? step / every * every : 0;
}

std::string AccuracyComponent(const v1::EvaluationSpec& evaluation) {
  for (const v1::RewardSpec& reward : evaluation.rewards()) {
    if (reward.has_accuracy()) return reward.has_name() ? reward.name() : "accuracy";
  }
  return "";
}

}  // namespace hone::coordinator
