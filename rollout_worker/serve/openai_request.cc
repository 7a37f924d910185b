#include "rollout_worker/serve/openai_request.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/random.h"
#include "rollout_worker/serve/json_fields.h"

namespace hone::serve {

using nlohmann::json;

namespace {

constexpr int kMostSamples = 128;
constexpr int kMostLogProbs = 20;
constexpr size_t kMostPrompts = 2048;
constexpr int kDefaultMaxTokens = 16;  // of completions, as OpenAI has it

absl::Status ReadThinking(const json& object, engine::ThinkingControls* thinking) {
  HONE_ASSIGN_OR_RETURN(JsonFields fields, JsonFields::Of(object, "thinking"));
  HONE_RETURN_IF_ERROR(fields.Read("max_tokens", &thinking->max_tokens));
  HONE_RETURN_IF_ERROR(fields.Read("ignore_ends", &thinking->ignore_ends));
  HONE_RETURN_IF_ERROR(fields.Read("wait_text", &thinking->wait_text));
  HONE_RETURN_IF_ERROR(fields.Read("answer_cue", &thinking->answer_cue));
  HONE_RETURN_IF_ERROR(fields.Read("begin", &thinking->begin));
  HONE_RETURN_IF_ERROR(fields.Read("end", &thinking->end));
  HONE_RETURN_IF_ERROR(fields.Read("switch_penalty", &thinking->switch_penalty));
  HONE_RETURN_IF_ERROR(fields.Read("switch_window", &thinking->switch_window));
  HONE_RETURN_IF_ERROR(fields.Read("switch_words", &thinking->switch_words));
  return fields.CheckAllKnown();
}

absl::Status ReadLogitBias(JsonFields* fields, std::vector<std::pair<int32_t, float>>* bias) {
  const json* found = fields->Find("logit_bias");
  if (found == nullptr) return absl::OkStatus();
  if (!found->is_object()) return fields->Refuse("logit_bias", "an object of token ids and numbers", *found);
  for (const auto& [key, value] : found->items()) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(key, &token) || !value.is_number()) {
      return fields->Refuse("logit_bias", "an object of token ids and numbers", *found);
    }
    bias->emplace_back(token, value.get<float>());
  }
  return absl::OkStatus();
}

// What both kinds have in common. `settings` is the engine's request without a prompt.
absl::Status ReadCommon(JsonFields* fields, ApiRequest* request, engine::GroupRequest* settings) {
  HONE_RETURN_IF_ERROR(fields->Read("model", &request->model));
  HONE_RETURN_IF_ERROR(fields->Read("n", &request->n));
  if (request->n < 1 || request->n > kMostSamples) {
    return fields->Refuse("n", absl::StrCat("1 to ", kMostSamples), request->n);
  }
  HONE_RETURN_IF_ERROR(fields->Read("seed", &request->seed));
  HONE_RETURN_IF_ERROR(fields->Read("stream", &request->stream));
  if (const json* options = fields->Find("stream_options"); options != nullptr) {
    HONE_ASSIGN_OR_RETURN(JsonFields inner, JsonFields::Of(*options, "stream_options"));
    HONE_RETURN_IF_ERROR(inner.Read("include_usage", &request->include_usage));
    HONE_RETURN_IF_ERROR(inner.CheckAllKnown());
  }
  HONE_RETURN_IF_ERROR(fields->Read("stop", &request->stop));
  settings->stop_strings = request->stop;
  HONE_RETURN_IF_ERROR(fields->Read("stop_token_ids", &settings->stop_token_ids));
  HONE_RETURN_IF_ERROR(fields->Read("temperature", &settings->sampling.temperature));
  HONE_RETURN_IF_ERROR(fields->Read("top_p", &settings->sampling.top_p));
  HONE_RETURN_IF_ERROR(fields->Read("top_k", &settings->sampling.top_k));
  if (settings->sampling.top_k == -1) settings->sampling.top_k = 0;  // 'off' elsewhere
  HONE_RETURN_IF_ERROR(fields->Read("min_p", &settings->sampling.min_p));
  HONE_RETURN_IF_ERROR(fields->Read("min_tokens", &settings->min_new_tokens));
  HONE_RETURN_IF_ERROR(fields->Read("presence_penalty", &settings->logits.presence_penalty));
  HONE_RETURN_IF_ERROR(fields->Read("frequency_penalty", &settings->logits.frequency_penalty));
  HONE_RETURN_IF_ERROR(fields->Read("repetition_penalty", &settings->logits.repetition_penalty));
  HONE_RETURN_IF_ERROR(ReadLogitBias(fields, &settings->logits.bias));
  if (const json* thinking = fields->Find("thinking"); thinking != nullptr) {
    HONE_RETURN_IF_ERROR(ReadThinking(*thinking, &settings->thinking));
  }
  settings->samples = request->n;
  fields->Ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});
  return absl::OkStatus();
}

absl::Status ReadMaxTokens(const char* name, int least, JsonFields* fields, engine::GroupRequest* settings) {
  HONE_RETURN_IF_ERROR(fields->Read(name, &settings->max_new_tokens));
  if (settings->max_new_tokens >= least) return absl::OkStatus();
  return fields->Refuse(name, absl::StrCat(least, " or more"), settings->max_new_tokens);
}

absl::Status CheckSettings(engine::GroupRequest settings, bool prompts_only) {
  if (prompts_only) settings.max_new_tokens = std::max(settings.min_new_tokens, 1);
  return engine::CheckSettings(settings);
}

// Leaves room for the prompt; 0 where there is none.
int MaxNewTokens(int asked, size_t prompt_tokens, const ModelText& text) {
  const int room = text.config.max_positions - static_cast<int>(prompt_tokens);
  return std::min(asked, std::max(room, 0));
}

absl::Status AddPrompt(model::FramedPrompt prompt, const std::string& field, const engine::GroupRequest& settings,
                       const ModelText& text, ApiRequest* request) {
  if (prompt.tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(field, ": expected at least one token"));
  if (std::ssize(prompt.tokens) >= text.config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": expected fewer tokens than the model's context of ",
                                                   text.config.max_positions, ", got ", prompt.tokens.size()));
  }
  engine::GroupRequest group = settings;
  group.prompt_opens_thinking = engine::OpensThinking(prompt.text, settings.thinking.begin);
  group.max_new_tokens = MaxNewTokens(settings.max_new_tokens, prompt.tokens.size(), text);
  group.min_new_tokens = std::min(group.min_new_tokens, group.max_new_tokens);
  group.key = kernels::StreamKey(request->seed, "openai");
  group.stream = request->groups.size();
  group.prompt = std::move(prompt.tokens);
  request->groups.push_back(std::move(group));
  request->prompt_texts.push_back(std::move(prompt.text));
  return absl::OkStatus();
}

bool IsTokenList(const json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_number_integer(); });
}

absl::StatusOr<model::FramedPrompt> ReadPrompt(const json& value, const JsonFields& fields, const ModelText& text) {
  const model::Tokenizer& tokenizer = *text.tokenizer;
  if (value.is_string()) {
    const std::string prompt = value.get<std::string>();
    return model::FramedPrompt{prompt, model::EncodeFromStart(tokenizer, prompt)};
  }
  if (!IsTokenList(value)) return fields.Refuse("prompt", "a string, a list of token ids, or a list of either", value);
  std::vector<int32_t> tokens;
  for (const json& token : value) {
    const int64_t id = token.get<int64_t>();
    if (id < 0 || id >= text.config.vocab_size) {
      return fields.Refuse("prompt", absl::StrCat("token ids in [0, ", text.config.vocab_size, ")"), token);
    }
    tokens.push_back(static_cast<int32_t>(id));
  }
  return model::FramedPrompt{tokenizer.Decode(tokens), tokens};
}

// A message's content: a string, or a list of parts of type text.
absl::StatusOr<std::string> ReadContent(const json* content, const std::string& path) {
  if (content == nullptr) return std::string();
  if (content->is_string()) return content->get<std::string>();
  const auto refuse = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ".content: expected a string or parts of type text, got ", what));
  };
  if (!content->is_array()) return refuse(content->type_name());
  std::string text;
  for (const json& part : *content) {
    if (!part.is_object() || part.value("type", json()) != "text" || !part.contains("text") ||
        !part["text"].is_string()) {
      return refuse(part.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 80));
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

absl::StatusOr<std::vector<model::ChatMessage>> ReadMessages(JsonFields* fields) {
  const json* list = fields->Find("messages");
  if (list == nullptr || !list->is_array() || list->empty()) {
    return fields->Refuse("messages", "a list of at least one message", list == nullptr ? json() : *list);
  }
  std::vector<model::ChatMessage> messages;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string path = absl::StrCat("messages[", i, "]");
    HONE_ASSIGN_OR_RETURN(JsonFields message, JsonFields::Of((*list)[i], path));
    model::ChatMessage read;
    HONE_RETURN_IF_ERROR(message.Read("role", &read.role));
    if (read.role == "developer") read.role = "system";
    if (read.role != "system" && read.role != "user" && read.role != "assistant" && read.role != "tool") {
      return message.Refuse("role", "system, developer, user, assistant or tool", read.role);
    }
    HONE_ASSIGN_OR_RETURN(read.content, ReadContent(message.Find("content"), path));
    message.Ignore({"name", "tool_call_id", "refusal"});
    HONE_RETURN_IF_ERROR(message.CheckAllKnown());
    messages.push_back(std::move(read));
  }
  return messages;
}

}  // namespace

absl::StatusOr<ApiRequest> ParseCompletionRequest(const json& body, const ModelText& text, uint64_t seed) {
  HONE_ASSIGN_OR_RETURN(JsonFields fields, JsonFields::Of(body));
  ApiRequest request = {.seed = seed};
  engine::GroupRequest settings;
  HONE_RETURN_IF_ERROR(ReadCommon(&fields, &request, &settings));
  settings.max_new_tokens = kDefaultMaxTokens;
  HONE_RETURN_IF_ERROR(fields.Read("echo", &request.echo));
  HONE_RETURN_IF_ERROR(ReadMaxTokens("max_tokens", request.echo ? 0 : 1, &fields, &settings));
  int logprobs = -1, best_of = request.n;
  HONE_RETURN_IF_ERROR(fields.Read("logprobs", &logprobs));
  if (logprobs > kMostLogProbs) return fields.Refuse("logprobs", absl::StrCat("at most ", kMostLogProbs), logprobs);
  request.with_logprobs = logprobs >= 0;
  settings.top_logprobs = std::max(logprobs, 0);
  HONE_RETURN_IF_ERROR(fields.Read("best_of", &best_of));
  if (best_of != request.n) return fields.Refuse("best_of", absl::StrCat("n (", request.n, ") or none"), best_of);
  std::string suffix;
  HONE_RETURN_IF_ERROR(fields.Read("suffix", &suffix));
  if (!suffix.empty()) return fields.Refuse("suffix", "none", suffix);
  if (request.echo && request.stream) return fields.Refuse("echo", "false beside stream", true);
  request.prompts_only = request.echo && settings.max_new_tokens == 0;
  const json* prompt = fields.Find("prompt");
  HONE_RETURN_IF_ERROR(fields.CheckAllKnown());
  HONE_RETURN_IF_ERROR(CheckSettings(settings, request.prompts_only));
  if (prompt == nullptr) return absl::InvalidArgumentError("prompt: required");
  const bool several = prompt->is_array() && !IsTokenList(*prompt);
  const size_t count = several ? prompt->size() : 1;
  if (count < 1 || count > kMostPrompts) {
    return absl::InvalidArgumentError(absl::StrCat("prompt: expected 1 to ", kMostPrompts, " prompts, got ", count));
  }
  for (size_t i = 0; i < count; ++i) {
    HONE_ASSIGN_OR_RETURN(model::FramedPrompt framed, ReadPrompt(several ? (*prompt)[i] : *prompt, fields, text));
    const std::string field = several ? absl::StrCat("prompt[", i, "]") : "prompt";
    HONE_RETURN_IF_ERROR(AddPrompt(std::move(framed), field, settings, text, &request));
  }
  return request;
}

absl::StatusOr<ApiRequest> ParseChatRequest(const json& body, const ModelText& text, uint64_t seed) {
  HONE_ASSIGN_OR_RETURN(JsonFields fields, JsonFields::Of(body));
  ApiRequest request = {.chat = true, .seed = seed};
  engine::GroupRequest settings;
  HONE_RETURN_IF_ERROR(ReadCommon(&fields, &request, &settings));
  settings.max_new_tokens = text.config.max_positions;
  HONE_RETURN_IF_ERROR(ReadMaxTokens("max_tokens", 1, &fields, &settings));
  HONE_RETURN_IF_ERROR(ReadMaxTokens("max_completion_tokens", 1, &fields, &settings));
  HONE_RETURN_IF_ERROR(fields.Read("logprobs", &request.with_logprobs));
  HONE_RETURN_IF_ERROR(fields.Read("top_logprobs", &settings.top_logprobs));
  if (settings.top_logprobs > 0 && !request.with_logprobs) {
    return fields.Refuse("top_logprobs", "logprobs: true beside it", settings.top_logprobs);
  }
  bool enable_thinking = true;
  if (const json* arguments = fields.Find("chat_template_kwargs"); arguments != nullptr) {
    HONE_ASSIGN_OR_RETURN(JsonFields inner, JsonFields::Of(*arguments, "chat_template_kwargs"));
    HONE_RETURN_IF_ERROR(inner.Read("enable_thinking", &enable_thinking));
    HONE_RETURN_IF_ERROR(inner.CheckAllKnown());
  }
  HONE_ASSIGN_OR_RETURN(const std::vector<model::ChatMessage> messages, ReadMessages(&fields));
  HONE_RETURN_IF_ERROR(fields.CheckAllKnown());
  HONE_RETURN_IF_ERROR(CheckSettings(settings, /*prompts_only=*/false));
  if (!text.chat_template.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("messages: the model has no chat template that is known: ", text.chat_template_status.message()));
  }
  model::FramedPrompt prompt;
  prompt.text = text.chat_template->Render(messages, /*add_generation_prompt=*/true, enable_thinking);
  prompt.tokens = text.tokenizer->Encode(prompt.text, /*parse_special=*/true);
  HONE_RETURN_IF_ERROR(AddPrompt(std::move(prompt), "messages", settings, text, &request));
  return request;
}

}  // namespace hone::serve
