// Requests of the OpenAI API (completions and chat completions) as requests of the engine.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/prompt_frame.h"
#include "rollout_worker/engine/request.h"
#include "rollout_worker/loaded_model.h"

namespace hone::serve {

struct ApiRequest {
  bool chat = false;
  std::string model;  // "" = not named
  // One engine request for each prompt; the prompt's text beside it. Each has its stream number; `seed` gives the key.
  std::vector<engine::GroupRequest> groups;
  std::vector<std::string> prompt_texts;
  int n = 1;  // samples of each
  uint64_t seed = 0;
  bool stream = false;
  bool include_usage = false;     // stream: a last chunk with the usage
  bool echo = false;              // completions: the prompt comes first
  bool with_logprobs = false;     // of the tokens, and of settings.top_logprobs most likely ones
  bool prompts_only = false;      // echo with max_tokens 0: nothing is generated
  std::vector<std::string> stop;  // the text ends before them
};

// The fields of either kind, by OpenAI's names; beside them top_k, min_p, repetition_penalty, min_tokens,
// stop_token_ids, seed and `thinking` (an object with the fields of ThinkingSpec). `seed` where the request has none.
// INVALID_ARGUMENT "<field>: expected ..., got ..."; a field that is not known is refused.
absl::StatusOr<ApiRequest> ParseCompletionRequest(const nlohmann::json& body, const ModelText& text, uint64_t seed);
absl::StatusOr<ApiRequest> ParseChatRequest(const nlohmann::json& body, const ModelText& text, uint64_t seed);

}  // namespace hone::serve
