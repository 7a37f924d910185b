// Chat templates of the Llama, Qwen2 and Qwen3 families, written in C++ and equal to their Jinja originals for messages
// without tool calls.
//
// A template is known by its text, whose hash must be one of those that were compared with the Jinja original; a ChatML
// template may carry its own default system prompt. Any other text is an error, never a guess.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
};

// A value: copyable, immutable, thread-safe.
class ChatTemplate {
 public:
  enum class Family {
    kChatMl,   // <|im_start|>role\ncontent<|im_end|>\n for every message; SmolLM2 and Qwen2 put a default system prompt
               // first
    kQwen25,   // the same, with a default system prompt; tool results are wrapped into a user turn
    kQwen3,    // no default system prompt; thinking of earlier turns is dropped, new thinking can be switched off
    kLlama3,   // <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>
    kLlama31,  // the same behind a system turn with the knowledge date (Llama 3.1 and 3.3)
  };

  // From chat_template.jinja of a model folder, else from its tokenizer_config.json.
  static absl::StatusOr<ChatTemplate> FromDirectory(const std::string& directory);
  // From the `chat_template` of a tokenizer_config.json. NOT_FOUND where there is none, INVALID_ARGUMENT (with the
  // text's hash and first characters) where it is not one of the known texts.
  static absl::StatusOr<ChatTemplate> FromConfig(std::string_view tokenizer_config_json);
  // From a model's files as texts, each empty where the model lacks it: chat_template.jinja, else as FromConfig.
  static absl::StatusOr<ChatTemplate> FromFiles(std::string_view tokenizer_config_json, std::string_view jinja_text);
  // From the template's text; `bos_token` is what the template's bos_token variable holds (used by Llama only).
  static absl::StatusOr<ChatTemplate> FromText(std::string_view template_text, std::string_view bos_token);
  // By name, for a model that comes without a template. `default_system` (empty for none) is for the ChatML families.
  static ChatTemplate ForFamily(Family family, std::string_view default_system, std::string_view bos_token);

  // The conversation as text, to be encoded with parse_special = true. `add_generation_prompt` opens the assistant's
  // turn; `enable_thinking` = false has a Qwen3 model answer without thinking and changes nothing for the others.
  // Bytes of a message that are not UTF-8 become U+FFFD.
  std::string Render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     bool enable_thinking = true) const;

  Family family() const { return family_; }
  const std::string& default_system() const { return default_system_; }

 private:
  ChatTemplate() = default;
  void RenderChatMl(const std::vector<ChatMessage>& messages, std::string* out) const;
  void RenderQwen(const std::vector<ChatMessage>& messages, std::string* out) const;
  void RenderLlama(const std::vector<ChatMessage>& messages, std::string* out) const;

  Family family_ = Family::kChatMl;
  std::string default_system_;  // put first where the first message is not a system message; empty for none
  std::string bos_token_;
};

}  // namespace hone::model
