// How a row's prompt becomes the text that is tokenized: one rule for the rollout worker (which samples) and the
// learner (which trains on written completions), so that both see the same token ids.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/chat_template.h"

namespace hone::model {

enum class PromptFrame { kRaw, kChat, kR1Zero };

// The frame of DeepSeek-R1-Zero (arXiv:2501.12948, section 2.2.1 and table 1): plain text, no chat tokens, no hint
// about content; the wording is ours. `{prompt}` stands for the prompt.
inline constexpr char kR1ZeroFrame[] =
    "The following is a dialogue between a User and an Assistant. The User asks something and the Assistant solves it. "
    "The "
    "Assistant first works out its reasoning and only then gives the User the answer. Reasoning and answer are put "
    "inside <think> "
    "</think> and <answer> </answer> tags respectively, that is: <think> the reasoning </think> <answer> the answer "
    "</answer>. "
    "User: {prompt}. Assistant:";

// The text of a prompt, to be encoded with parse_special = true. `suffix` goes after the prompt (raw, R1-Zero) or after
// the user's message (chat). `chat` is needed for kChat alone: INVALID_ARGUMENT where it is null.
inline absl::StatusOr<std::string> RenderPrompt(PromptFrame frame, const std::string& prompt, const std::string& suffix,
                                                const std::optional<std::string>& system_prompt,
                                                const ChatTemplate* chat) {
  if (frame == PromptFrame::kRaw) return prompt + suffix;
  if (frame == PromptFrame::kR1Zero) {
    std::string text = kR1ZeroFrame;
    constexpr char kSlot[] = "{prompt}";
    return text.replace(text.find(kSlot), sizeof(kSlot) - 1, prompt + suffix);
  }
  if (chat == nullptr) {
    return absl::InvalidArgumentError("template chat: the model folder has no chat template (tokenizer_config.json)");
  }
  std::vector<ChatMessage> messages;
  if (system_prompt.has_value()) messages.push_back({"system", *system_prompt});
  messages.push_back({"user", prompt + suffix});
  return chat->Render(messages, /*add_generation_prompt=*/true);
}

}  // namespace hone::model
