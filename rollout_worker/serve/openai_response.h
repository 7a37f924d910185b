// What the engine makes of a request, as the OpenAI API's responses: whole, or chunk by chunk.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "rollout_worker/serve/generation_loop.h"
#include "rollout_worker/serve/openai_request.h"

namespace hone::serve {

struct ResponseHead {
  std::string id;           // "cmpl-..." or "chatcmpl-..."
  int64_t created = 0;      // seconds since 1970
  std::string model;        // as it is served
  std::string fingerprint;  // system_fingerprint: numerics key and weights
};

// The text of one choice while it grows: special tokens left out, and the end from a stop string on, so that what may
// be the beginning of one waits.
class ChoiceText {
 public:
  // Both must outlive it.
  ChoiceText(const model::Tokenizer* tokenizer, const std::vector<std::string>* stops);
  // What may be shown now.
  std::string Add(const SampleUpdate& update);

 private:
  size_t HeldBack() const;

  const std::vector<std::string>* stops_;
  model::StreamDecoder decoder_;
  std::string pending_;
};

// One response. `request` and `text` must outlive it.
class ResponseWriter {
 public:
  ResponseWriter(const ApiRequest* request, const ModelText* text, ResponseHead head);

  // What came for a prompt's samples: as chunks of a stream; or to be kept for Whole.
  std::vector<nlohmann::json> Chunks(size_t prompt, std::span<const SampleUpdate> updates);
  void Keep(size_t prompt, std::span<const SampleUpdate> updates);
  // The first chunks of a stream: a chat's roles.
  std::vector<nlohmann::json> Opening() const;
  // The last chunk, with include_usage.
  nlohmann::json UsageChunk() const;
  // Log-probs of a prompt's own tokens, for echo with logprobs; the first token has none.
  void KeepPromptScores(size_t prompt, engine::TokenScores scores);
  nlohmann::json Whole() const;
  int64_t completion_tokens() const { return completion_tokens_; }

 private:
  struct Choice {
    explicit Choice(const model::Tokenizer* tokenizer, const std::vector<std::string>* stops)
        : shown(tokenizer, stops) {}
    ChoiceText shown;
    std::string text;     // kept
    SampleUpdate record;  // kept: tokens and log-probs
    int64_t characters = 0;
  };
  nlohmann::json Frame(const char* object) const;
  nlohmann::json Usage() const;
  nlohmann::json LogProbs(const SampleUpdate& record, int64_t* characters) const;
  nlohmann::json CompletionLogProbs(const SampleUpdate& record, int64_t* characters) const;
  nlohmann::json ChatLogProbs(const SampleUpdate& record) const;
  nlohmann::json WholeChoice(size_t index) const;

  const ApiRequest& request_;
  const ModelText& text_;
  const ResponseHead head_;
  std::vector<Choice> choices_;                     // of all prompts, n for each
  std::vector<engine::TokenScores> prompt_scores_;  // by prompt, with echo
  int64_t completion_tokens_ = 0;
};

}  // namespace hone::serve
