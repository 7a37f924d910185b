#include "model/tokenizer/prompt_frame.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/strings.h"

namespace hone::model {
namespace {

// The frame of DeepSeek-R1-Zero (arXiv:2501.12948, section 2.2.1 and table 1): plain text, no chat tokens, no hint
// about content; the wording is ours. `{prompt}` stands for the prompt.
constexpr char kR1ZeroFrame[] =
    "The following is a dialogue between a User and an Assistant. The User asks something and the Assistant solves it. "
    "The Assistant first works out its reasoning and only then gives the User the answer. Reasoning and answer are put "
    "inside <think> </think> and <answer> </answer> tags respectively, that is: <think> the reasoning </think> "
    "<answer> the answer </answer>. User: {prompt}. Assistant:";

absl::StatusOr<std::string> Render(std::string_view prompt, const PromptSurroundings& surroundings) {
  const std::string asked = absl::StrCat(ToAbsl(prompt), ToAbsl(surroundings.suffix));
  if (surroundings.frame == PromptFrame::kRaw) return asked;
  if (surroundings.frame == PromptFrame::kR1Zero) {
    std::string text = kR1ZeroFrame;
    constexpr std::string_view kSlot = "{prompt}";
    return text.replace(text.find(kSlot), kSlot.size(), asked);
  }
  if (surroundings.chat == nullptr) {
    return absl::InvalidArgumentError("template chat: the model folder has no chat template (tokenizer_config.json)");
  }
  std::vector<ChatMessage> messages;
  if (surroundings.system_prompt.has_value()) messages.push_back({"system", *surroundings.system_prompt});
  messages.push_back({"user", asked});
  return surroundings.chat->Render(messages, /*add_generation_prompt=*/true);
}

}  // namespace

absl::StatusOr<FramedPrompt> FramePrompt(const Tokenizer& tokenizer, std::string_view prompt,
                                         const PromptSurroundings& surroundings) {
  FramedPrompt framed;
  HONE_ASSIGN_OR_RETURN(framed.text, Render(prompt, surroundings));
  framed.tokens = surroundings.frame == PromptFrame::kChat ? tokenizer.Encode(framed.text)
                                                           : EncodeFromStart(tokenizer, framed.text);
  return framed;
}

std::vector<int32_t> EncodeFromStart(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> tokens = tokenizer.Encode(text);
  if (PrefixLength(tokenizer, tokens) == 0) {
    tokens.insert(tokens.begin(), tokenizer.prefix().begin(), tokenizer.prefix().end());
  }
  return tokens;
}

size_t PrefixLength(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  const std::vector<int32_t>& prefix = tokenizer.prefix();
  const bool there = tokens.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin());
  return there ? prefix.size() : 0;
}

size_t CutOldest(const Tokenizer& tokenizer, size_t limit, std::vector<int32_t>* tokens) {
  if (tokens->size() <= limit) return 0;
  const size_t cut = tokens->size() - limit;
  const size_t prefix = PrefixLength(tokenizer, *tokens);
  const auto first = tokens->begin() + static_cast<std::ptrdiff_t>(prefix < limit ? prefix : 0);
  tokens->erase(first, first + static_cast<std::ptrdiff_t>(cut));
  return cut;
}

}  // namespace hone::model
