// Chat templates of the Llama, Qwen2 and Qwen3 families, written in C++ and equal to their Jinja originals for messages
// without tools.
//
// A template is known by the text in tokenizer_config.json: its hash must be one of those that Hone has been compared
// with (a Qwen2 template may carry its own default system prompt). Any other text is an error, never a guess.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  enum class Family {
    kChatMl,  // <|im_start|>role\ncontent<|im_end|>\n, with a default system prompt or none (SmolLM2, Qwen2, Qwen2.5)
    kQwen3,   // as ChatML; past thinking is dropped, thinking can be switched off
    kLlama3,  // <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>
  };

  // From the `chat_template` of a tokenizer_config.json. NOT_FOUND where there is none, INVALID_ARGUMENT (with the
  // text's hash and first characters) where it is not one of the known texts.
  static absl::StatusOr<ChatTemplate> FromConfig(std::string_view tokenizer_config_json);
  // From the template's text; `bos_token` is what the template's bos_token variable holds (used by Llama-3 only).
  static absl::StatusOr<ChatTemplate> FromText(std::string_view template_text, std::string_view bos_token);

  // The conversation as text, to be encoded with parse_special = true. `add_generation_prompt` opens the assistant's
  // turn; `enable_thinking` = false has a Qwen3 model answer without thinking and changes nothing for the others.
  std::string Render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     bool enable_thinking = true) const;

  Family family() const { return family_; }

 private:
  ChatTemplate() = default;
  std::string RenderChatMl(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;
  std::string RenderQwen3(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                          bool enable_thinking) const;
  std::string RenderLlama3(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

  Family family_ = Family::kChatMl;
  std::string default_system_;  // put first where the first message is not a system message; empty for none
  std::string bos_token_;
};

}  // namespace hone::model
