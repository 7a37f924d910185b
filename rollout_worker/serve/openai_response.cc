#include "rollout_worker/serve/openai_response.h"

#include <algorithm>
#include <utility>

namespace hone::serve {

using nlohmann::json;

namespace {

const char* FinishName(engine::FinishReason reason) {
  return reason == engine::FinishReason::kLength ? "length" : "stop";
}

int64_t Characters(const std::string& utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

// One token by itself; a part of a character becomes U+FFFD.
std::string TokenText(const model::Tokenizer& tokenizer, int32_t token) { return tokenizer.Decode({&token, 1}); }

json ChatToken(const model::Tokenizer& tokenizer, int32_t token, float logprob) {
  json bytes = json::array();
  for (const char byte : tokenizer.TokenBytes(token)) bytes.push_back(static_cast<unsigned char>(byte));
  return {{"token", TokenText(tokenizer, token)}, {"logprob", logprob}, {"bytes", bytes}};
}

}  // namespace

ChoiceText::ChoiceText(const model::Tokenizer* tokenizer, const std::vector<std::string>* stops)
    : stops_(stops), decoder_(tokenizer, /*skip_special=*/true) {}

std::string ChoiceText::Add(const SampleUpdate& update) {
  for (const int32_t token : update.tokens) pending_ += decoder_.Push(token);
  if (update.finished) {
    pending_ += decoder_.Flush();
    size_t end = pending_.size();
    if (update.finish == engine::FinishReason::kStopString) {
      for (const std::string& stop : *stops_) end = std::min(end, pending_.find(stop));
    }
    pending_.resize(end);
    return std::exchange(pending_, {});
  }
  const size_t shown = pending_.size() - HeldBack();
  std::string text = pending_.substr(0, shown);
  pending_.erase(0, shown);
  return text;
}

// Bytes at the end that begin a stop string.
size_t ChoiceText::HeldBack() const {
  size_t most = 0;
  for (const std::string& stop : *stops_) {
    for (size_t length = std::min(stop.size() - 1, pending_.size()); length > most; --length) {
      if (pending_.ends_with(std::string_view(stop).substr(0, length))) most = length;
    }
  }
  return most;
}

ResponseWriter::ResponseWriter(const ApiRequest* request, const ModelText* text, ResponseHead head)
    : request_(*request), text_(*text), head_(std::move(head)), prompt_scores_(request->groups.size()) {
  const size_t count = request_.groups.size() * static_cast<size_t>(request_.n);
  choices_.reserve(count);
  for (size_t i = 0; i < count; ++i) choices_.emplace_back(text_.tokenizer.get(), &request_.stop);
}

json ResponseWriter::Frame(const char* object) const {
  return {{"id", head_.id},       {"object", object},      {"created", head_.created},
          {"model", head_.model}, {"seed", request_.seed}, {"system_fingerprint", head_.fingerprint}};
}

json ResponseWriter::Usage() const {
  int64_t prompt_tokens = 0;
  for (const engine::GroupRequest& group : request_.groups) prompt_tokens += std::ssize(group.prompt);
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens_},
          {"total_tokens", prompt_tokens + completion_tokens_}};
}

json ResponseWriter::CompletionLogProbs(const SampleUpdate& record, int64_t* characters) const {
  const model::Tokenizer& tokenizer = *text_.tokenizer;
  json tokens = json::array(), logprobs = json::array(), top = json::array(), offsets = json::array();
  const size_t likely = record.tokens.empty() ? 0 : record.top.size() / record.tokens.size();
  for (size_t i = 0; i < record.tokens.size(); ++i) {
    const std::string text = TokenText(tokenizer, record.tokens[i]);
    tokens.push_back(text);
    logprobs.push_back(record.logprobs[i]);
    offsets.push_back(*characters);
    *characters += Characters(text);
    json of_token = json::object();
    for (size_t k = 0; k < likely; ++k) {
      const engine::TokenLogProb& entry = record.top[i * likely + k];
      if (entry.token >= 0)
        of_token.emplace(TokenText(tokenizer, entry.token), entry.logprob);  // the likelier of equals
    }
    top.push_back(std::move(of_token));
  }
  return {{"tokens", tokens},
          {"token_logprobs", logprobs},
          {"top_logprobs", likely == 0 ? json() : top},
          {"text_offset", offsets}};
}

json ResponseWriter::ChatLogProbs(const SampleUpdate& record) const {
  const model::Tokenizer& tokenizer = *text_.tokenizer;
  json content = json::array();
  const size_t likely = record.tokens.empty() ? 0 : record.top.size() / record.tokens.size();
  for (size_t i = 0; i < record.tokens.size(); ++i) {
    json token = ChatToken(tokenizer, record.tokens[i], record.logprobs[i]);
    token["top_logprobs"] = json::array();
    for (size_t k = 0; k < likely; ++k) {
      const engine::TokenLogProb& entry = record.top[i * likely + k];
      if (entry.token >= 0) token["top_logprobs"].push_back(ChatToken(tokenizer, entry.token, entry.logprob));
    }
    content.push_back(std::move(token));
  }
  return {{"content", content}};
}

json ResponseWriter::LogProbs(const SampleUpdate& record, int64_t* characters) const {
  if (!request_.with_logprobs) return nullptr;
  return request_.chat ? ChatLogProbs(record) : CompletionLogProbs(record, characters);
}

std::vector<json> ResponseWriter::Opening() const {
  std::vector<json> chunks;
  if (!request_.chat) return chunks;
  for (size_t i = 0; i < choices_.size(); ++i) {
    json chunk = Frame("chat.completion.chunk");
    chunk["choices"] = json::array({{{"index", i},
                                     {"delta", {{"role", "assistant"}, {"content", ""}}},
                                     {"logprobs", nullptr},
                                     {"finish_reason", nullptr}}});
    if (request_.include_usage) chunk["usage"] = nullptr;
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

std::vector<json> ResponseWriter::Chunks(size_t prompt, std::span<const SampleUpdate> updates) {
  std::vector<json> chunks;
  for (const SampleUpdate& update : updates) {
    const size_t index = prompt * static_cast<size_t>(request_.n) + static_cast<size_t>(update.sample);
    Choice& choice = choices_[index];
    completion_tokens_ += std::ssize(update.tokens);
    const std::string text = choice.shown.Add(update);
    if (text.empty() && !update.finished && !request_.with_logprobs) continue;
    json entry = {{"index", index},
                  {"logprobs", LogProbs(update, &choice.characters)},
                  {"finish_reason", update.finished ? json(FinishName(update.finish)) : json()}};
    if (request_.chat) {
      entry["delta"] = text.empty() ? json::object() : json{{"content", text}};
    } else {
      entry["text"] = text;
    }
    json chunk = Frame(request_.chat ? "chat.completion.chunk" : "text_completion");
    chunk["choices"] = json::array({std::move(entry)});
    if (request_.include_usage) chunk["usage"] = nullptr;
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

json ResponseWriter::UsageChunk() const {
  json chunk = Frame(request_.chat ? "chat.completion.chunk" : "text_completion");
  chunk["choices"] = json::array();
  chunk["usage"] = Usage();
  return chunk;
}

void ResponseWriter::Keep(size_t prompt, std::span<const SampleUpdate> updates) {
  for (const SampleUpdate& update : updates) {
    Choice& choice = choices_[prompt * static_cast<size_t>(request_.n) + static_cast<size_t>(update.sample)];
    completion_tokens_ += std::ssize(update.tokens);
    choice.text += choice.shown.Add(update);
    SampleUpdate& record = choice.record;
    record.finish = update.finish;
    if (!request_.with_logprobs) continue;
    record.tokens.insert(record.tokens.end(), update.tokens.begin(), update.tokens.end());
    record.logprobs.insert(record.logprobs.end(), update.logprobs.begin(), update.logprobs.end());
    record.top.insert(record.top.end(), update.top.begin(), update.top.end());
  }
}

void ResponseWriter::KeepPromptScores(size_t prompt, engine::TokenScores scores) {
  prompt_scores_[prompt] = std::move(scores);
}

json ResponseWriter::WholeChoice(size_t index) const {
  const Choice& choice = choices_[index];
  const size_t prompt = index / static_cast<size_t>(request_.n);
  const engine::GroupRequest& group = request_.groups[prompt];
  SampleUpdate record = choice.record;
  std::string text = choice.text;
  if (request_.echo) {
    text = request_.prompt_texts[prompt] + text;
    if (request_.with_logprobs) {
      const engine::TokenScores& scores = prompt_scores_[prompt];
      record.tokens.insert(record.tokens.begin(), group.prompt.begin(), group.prompt.end());
      record.logprobs.insert(record.logprobs.begin(), scores.logprobs.begin(), scores.logprobs.end());
      record.logprobs.insert(record.logprobs.begin(), 0);
      record.top.insert(record.top.begin(), scores.top.begin(), scores.top.end());
      record.top.insert(record.top.begin(), static_cast<size_t>(group.top_logprobs), {});
    }
  }
  int64_t characters = 0;
  json entry = {{"index", index},
                {"logprobs", LogProbs(record, &characters)},
                {"finish_reason", request_.prompts_only ? "length" : FinishName(choice.record.finish)}};
  if (request_.echo && request_.with_logprobs) {  // nothing comes before the first token
    entry["logprobs"]["token_logprobs"][0] = nullptr;
    if (entry["logprobs"]["top_logprobs"].is_array()) entry["logprobs"]["top_logprobs"][0] = nullptr;
  }
  if (request_.chat) {
    entry["message"] = {{"role", "assistant"}, {"content", text}, {"refusal", nullptr}};
  } else {
    entry["text"] = text;
  }
  return entry;
}

json ResponseWriter::Whole() const {
  json response = Frame(request_.chat ? "chat.completion" : "text_completion");
  response["choices"] = json::array();
  for (size_t i = 0; i < choices_.size(); ++i) response["choices"].push_back(WholeChoice(i));
  response["usage"] = Usage();
  return response;
}

}  // namespace hone::serve
