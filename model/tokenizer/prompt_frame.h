// How a row's prompt becomes token ids: one rule for the rollout worker (which samples) and the learner (which trains
// on written completions), so that both see the same sequence.
//
// A text that the model reads from its very start gets the tokenizer's prefix (Tokenizer::prefix: Llama 3's
// <|begin_of_text|>, nothing for Qwen), as `tokenizers` does with add_special_tokens = True. What a chat template
// renders gets none: the template writes its own. Two things differ from `tokenizers` on purpose. A text that begins
// with the prefix already gets no second one: no model was trained on two. And the suffix is never put: a prompt is to
// be continued, and a completion's end is `append_eos`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/chat_template.h"
#include "model/tokenizer/tokenizer.h"

namespace hone::model {

enum class PromptFrame { kRaw, kChat, kR1Zero };

// What surrounds a prompt.
struct PromptSurroundings {
  PromptFrame frame = PromptFrame::kRaw;
  std::string_view suffix;                   // after the prompt (raw, R1-Zero) or after the user's message (chat)
  std::optional<std::string> system_prompt;  // for kChat
  const ChatTemplate* chat = nullptr;        // for kChat
};

struct FramedPrompt {
  std::string text;             // what was rendered, without tokens that the tokenizer adds
  std::vector<int32_t> tokens;  // special tokens in the text are parsed
};

// INVALID_ARGUMENT where kChat comes without a template.
absl::StatusOr<FramedPrompt> FramePrompt(const Tokenizer& tokenizer, std::string_view prompt,
                                         const PromptSurroundings& surroundings);

// The ids of a plain text from the start of a sequence: a raw prompt, a row of running text.
std::vector<int32_t> EncodeFromStart(const Tokenizer& tokenizer, std::string_view text);

// How many of the first `tokens` are the tokenizer's prefix: all of it or none.
size_t PrefixLength(const Tokenizer& tokenizer, std::span<const int32_t> tokens);

// Cuts `tokens` to `limit`, the oldest first, but keeps the prefix as long as there is room for anything behind it.
// Returns how many are gone.
size_t CutOldest(const Tokenizer& tokenizer, size_t limit, std::vector<int32_t>* tokens);

}  // namespace hone::model
