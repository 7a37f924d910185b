#include "rollout_worker/engine/logit_editor.h"

namespace hone::engine {

LogitEditor::LogitEditor(const LogitControls* controls, std::span<const int32_t> prompt) : controls_(controls) {
  if (controls_->repetition_penalty == 1) return;
  for (const int32_t token : prompt) seen_[token].in_prompt = true;
}

void LogitEditor::Add(int32_t token) {
  if (controls_->penalizes()) ++seen_[token].in_completion;
}

void LogitEditor::Remove(int32_t token) {
  if (controls_->penalizes()) --seen_[token].in_completion;
}

void LogitEditor::Edit(std::span<float> logits) const {
  for (const auto& [token, bias] : controls_->bias) logits[static_cast<size_t>(token)] += bias;
  // Each entry edits its own logit alone, so that the order of the walk leaves no trace.
  for (const auto& [token, seen] : seen_) {
    float& logit = logits[static_cast<size_t>(token)];
    if (seen.in_prompt || seen.in_completion > 0) {
      logit = logit > 0 ? logit / controls_->repetition_penalty : logit * controls_->repetition_penalty;
    }
    if (seen.in_completion > 0) {
      logit -= controls_->presence_penalty;
      logit -= controls_->frequency_penalty * static_cast<float>(seen.in_completion);
    }
  }
}

}  // namespace hone::engine
