// What a stage is and what is due in it: pure functions of the resolved spec.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/run_config/schema_words.h"
#include "hone/v1/run.pb.h"

namespace hone::coordinator {

// Steps of the stage; 0 where only the learner knows (epochs) and for evaluate and export.
int32_t StepsTotal(const v1::StageSpec& stage);

// The optimizer of a training stage; nullptr for others.
const v1::OptimizerSpec* OptimizerOf(const v1::StageSpec& stage);

// The evaluation inside a training stage; nullptr where none is asked for.
const v1::PeriodicEvalSpec* PeriodicEvaluation(const v1::StageSpec& stage);

// The evaluation that the stage makes tasks from (periodic or its own); nullptr where none.
const v1::EvaluationSpec* EvaluationOf(const v1::StageSpec& stage);

// Whether the weights after `step` steps are to be evaluated. `last_step`: the step that ends the stage early (-1:
// none). A supervised stage counted in epochs publishes only where an evaluation is due, so that a step outside of
// `every_steps` can only be its end.
bool EvaluationDue(const v1::StageSpec& stage, int32_t step, int32_t last_step);

// By how many steps the weights that sample a step's groups are older than those that it trains (RlMode).
int32_t Lag(const v1::StageSpec& stage);

// The step whose weights sample the groups of step `step` (from 1 on).
int32_t SamplingStep(const v1::StageSpec& stage, int32_t step);

// The step whose weights are the reference of an rl stage after `step` steps: 0, or the last that renewed it.
int32_t ReferenceStep(const v1::StageSpec& stage, int32_t step);

// Name of the first accuracy component, the one that pass@1 is the mean of; "" without one.
std::string AccuracyComponent(const v1::EvaluationSpec& evaluation);

// Data sets whose prompts the coordinator hands out in this stage (rl and evaluations; the learner reads those of
// pretrain and sft itself): called with each name.
template <typename F>
void ForEachPromptSet(const v1::StageSpec& stage, F&& f) {
  if (stage.kind_case() == v1::StageSpec::kRl) f(stage.rl().dataset());
  if (const v1::EvaluationSpec* evaluation = EvaluationOf(stage)) f(evaluation->dataset());
}

}  // namespace hone::coordinator
