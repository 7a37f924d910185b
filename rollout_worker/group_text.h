// Between texts and tokens: a task's prompt on its way into the engine, a completion on its way out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "hone/v1/rollout.pb.h"
#include "hone/v1/trajectory.pb.h"
#include "model/tokenizer/prompt_frame.h"
#include "rollout_worker/engine/engine.h"
#include "rollout_worker/loaded_model.h"

namespace hone {

// Renders and tokenizes the task's prompt. OUT_OF_RANGE: too long for the context's policy (its message is the group's
// drop reason); INVALID_ARGUMENT: no chat template, or no token at all.
absl::StatusOr<model::FramedPrompt> PreparePrompt(const v1::GroupTask& task, const v1::TaskContext& context,
                                                  const ModelText& text);

// The prompt of a call to RolloutService.
model::FramedPrompt FramedPromptOf(const v1::GenerateRequest& request, const model::Tokenizer& tokenizer);
void SetPolicyVersion(const WeightVersion& from, v1::PolicyVersion* to);

// The engine's request for a prepared prompt.
engine::GroupRequest MakeGroupRequest(const v1::SamplingSpec& sampling, model::FramedPrompt prompt);

// The record of a completion. `opened` is true where the prompt's text ends inside a think block.
v1::Trajectory MakeTrajectory(const engine::SampledCompletion& completion, int sample_index, bool opened,
                              const model::Tokenizer& tokenizer, const WeightVersion& version,
                              const std::string& numerics_key);

// Fills in StepScore.last_token of the trajectory's verdict.
void PlaceSteps(const model::Tokenizer& tokenizer, v1::Trajectory* trajectory);

// Tokens inside the first think block, the tags not counted: up to </think>, or to the end where it is never closed.
int ThinkingTokens(std::span<const int32_t> tokens, bool opened, const model::Tokenizer& tokenizer);

}  // namespace hone
