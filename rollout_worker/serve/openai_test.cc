// Requests read and responses written, without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rollout_worker/serve/openai_request.h"
#include "rollout_worker/serve/openai_response.h"
#include "rollout_worker/serve/testing/tiny_server.h"

namespace hone::serve {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OpenAiTest : public ::testing::Test {
 protected:
  std::string CompletionError(const char* body) {
    const auto request = ParseCompletionRequest(json::parse(body), tiny_.text, 1);
    return request.ok() ? "accepted" : std::string(request.status().message());
  }
  std::string ChatError(const char* body) {
    const auto request = ParseChatRequest(json::parse(body), tiny_.text, 1);
    return request.ok() ? "accepted" : std::string(request.status().message());
  }
  static SampleUpdate Update(std::vector<int32_t> tokens, bool finished = false,
                             engine::FinishReason finish = engine::FinishReason::kLength) {
    SampleUpdate update = {.tokens = std::move(tokens), .finished = finished, .finish = finish};
    for (size_t i = 0; i < update.tokens.size(); ++i) update.logprobs.push_back(-0.5f * static_cast<float>(i + 1));
    return update;
  }
  const TinyModel tiny_;
};

TEST_F(OpenAiTest, ReadsEveryField) {
  const auto request = ParseCompletionRequest(
      json::parse(
          R"({"model": "m", "prompt": ["w1 w2", "w5"], "max_tokens": 7, "min_tokens": 2, "temperature": 0.5, "top_p": 0.9,
        "top_k": 5, "min_p": 0.1, "n": 3, "seed": 42, "stop": "w9 w", "stop_token_ids": [8], "presence_penalty": 0.1,
        "frequency_penalty": 0.2, "repetition_penalty": 1.3, "logit_bias": {"4": -5}, "logprobs": 2, "user": "u", "stream": true,
        "stream_options": {"include_usage": true},
        "thinking": {"max_tokens": 9, "ignore_ends": 1, "begin": "", "end": "w6", "switch_penalty": 3}})"),
      tiny_.text, 1);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->seed, 42u);
  EXPECT_EQ(request->n, 3);
  EXPECT_TRUE(request->stream && request->include_usage && request->with_logprobs && !request->chat);
  ASSERT_EQ(request->groups.size(), 2u);
  const engine::GroupRequest& group = request->groups[1];
  EXPECT_THAT(request->groups[0].prompt, ElementsAre(1, 2));
  EXPECT_THAT(group.prompt, ElementsAre(5));
  EXPECT_EQ(group.stream, 1u);
  EXPECT_EQ(group.samples, 3);
  EXPECT_EQ(group.max_new_tokens, 7);
  EXPECT_EQ(group.min_new_tokens, 2);
  EXPECT_EQ(group.sampling.temperature, 0.5f);
  EXPECT_EQ(group.sampling.top_p, 0.9f);
  EXPECT_EQ(group.sampling.top_k, 5);
  EXPECT_EQ(group.sampling.min_p, 0.1f);
  EXPECT_THAT(group.stop_strings, ElementsAre("w9 w"));
  EXPECT_THAT(group.stop_token_ids, ElementsAre(8));
  EXPECT_THAT(group.logits.bias, ElementsAre(std::pair(4, -5.0f)));
  EXPECT_EQ(group.logits.presence_penalty, 0.1f);
  EXPECT_EQ(group.logits.frequency_penalty, 0.2f);
  EXPECT_EQ(group.logits.repetition_penalty, 1.3f);
  EXPECT_EQ(group.top_logprobs, 2);
  EXPECT_EQ(group.thinking.max_tokens, 9);
  EXPECT_EQ(group.thinking.ignore_ends, 1);
  EXPECT_EQ(group.thinking.begin, "");
  EXPECT_EQ(group.thinking.end, "w6");
  EXPECT_EQ(group.thinking.switch_penalty, 3);
}

TEST_F(OpenAiTest, PromptsAreTextsOrTokens) {
  const auto prompts = [&](const char* prompt) {
    const auto request = ParseCompletionRequest({{"prompt", json::parse(prompt)}, {"max_tokens", 500}}, tiny_.text, 1);
    EXPECT_TRUE(request.ok()) << request.status();
    std::vector<std::vector<int32_t>> read;
    for (const engine::GroupRequest& group : request->groups) read.push_back(group.prompt);
    EXPECT_EQ(request->groups[0].max_new_tokens, 120 - static_cast<int>(read[0].size())) << "what the context leaves";
    return read;
  };
  EXPECT_THAT(prompts(R"("w1 w2")"), ElementsAre(ElementsAre(1, 2)));
  EXPECT_THAT(prompts("[1, 2]"), ElementsAre(ElementsAre(1, 2)));
  EXPECT_THAT(prompts("[[1, 2], [7]]"), ElementsAre(ElementsAre(1, 2), ElementsAre(7)));
  EXPECT_THAT(prompts(R"(["w4", [7]])"), ElementsAre(ElementsAre(4), ElementsAre(7)));
}

TEST_F(OpenAiTest, ErrorsNameTheField) {
  EXPECT_EQ(CompletionError("[]"), "the request: expected an object, got []");
  EXPECT_EQ(CompletionError("{}"), "prompt: required");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "max_token": 3})"),
            "max_token: expected a known field, got this one; did you mean 'max_tokens'?");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "max_tokens": "3"})"),
            "max_tokens: expected a whole number of 32 bits, got \"3\"");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "max_tokens": 1e3})"),
            "max_tokens: expected a whole number of 32 bits, got 1000.0");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "max_tokens": 0})"), "max_tokens: expected 1 or more, got 0");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "max_tokens": 99999999999})"),
            "max_tokens: expected a whole number of 32 bits, got 99999999999");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "n": 0})"), "n: expected 1 to 128, got 0");
  EXPECT_EQ(CompletionError(R"({"prompt": "w1", "n": 129})"), "n: expected 1 to 128, got 129");
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "temperature": -1})"), HasSubstr("temperature: expected 0"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "temperature": "hot"})"),
              HasSubstr("temperature: expected a number"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "top_p": 2})"), HasSubstr("top_p: expected a number in (0, 1]"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "seed": -1})"), HasSubstr("seed: expected"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "stop": [1]})"),
              HasSubstr("stop: expected a string or a list of strings"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "stop": ""})"),
              HasSubstr("stop: expected strings that are not empty"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "logprobs": 21})"),
              HasSubstr("logprobs: expected at most 20, got 21"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "best_of": 2})"),
              HasSubstr("best_of: expected n (1) or none, got 2"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "suffix": "x"})"), HasSubstr("suffix"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "logit_bias": {"a": 1}})"),
              HasSubstr("logit_bias: expected an object"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "thinking": {"max": 1}})"),
              HasSubstr("thinking.max: expected a known field"));
  EXPECT_THAT(CompletionError(R"({"prompt": {}})"), HasSubstr("prompt: expected a string, a list of token ids"));
  EXPECT_THAT(CompletionError(R"({"prompt": []})"), HasSubstr("prompt: expected 1 to 2048 prompts, got 0"));
  EXPECT_THAT(CompletionError(R"({"prompt": ""})"), HasSubstr("prompt: expected at least one token"));
  EXPECT_THAT(CompletionError(R"({"prompt": [[1], [61]]})"),
              HasSubstr("prompt: expected token ids in [0, 61), got 61"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "echo": true, "max_tokens": 0, "temperature": -1})"),
              HasSubstr("temperature"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "min_tokens": 9, "max_tokens": 3})"),
              HasSubstr("min_new_tokens: expected 0 to"));
  EXPECT_THAT(CompletionError(R"({"prompt": "w1", "top_k": -7})"), HasSubstr("top_k"));
  const json long_stop = {{"prompt", "w1"}, {"stop", std::string(5000, 'x')}};
  EXPECT_THAT(CompletionError(long_stop.dump().c_str()), HasSubstr("stop: expected at most 4096 bytes, got 5000"));
  const json many_ids = {{"prompt", "w1"}, {"stop_token_ids", std::vector<int>(2000, 1)}};
  EXPECT_THAT(CompletionError(many_ids.dump().c_str()), HasSubstr("stop_token_ids: expected at most 1024 tokens"));
  const json too_long = {{"prompt", std::vector<int>(120, 1)}};
  EXPECT_EQ(CompletionError(too_long.dump().c_str()),
            "prompt: expected fewer tokens than the model's context of 120, got 120");
  EXPECT_THAT(ChatError("{}"), HasSubstr("messages: expected a list of at least one message, got null"));
  EXPECT_THAT(ChatError(R"({"messages": [{"role": "robot", "content": "w1"}]})"),
              HasSubstr("messages[0].role: expected system"));
  EXPECT_THAT(ChatError(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"),
              HasSubstr("messages[0].content: expected a string or parts of type text"));
  EXPECT_THAT(ChatError(R"({"messages": [{"role": "user", "content": "w1"}], "top_logprobs": 2})"),
              HasSubstr("top_logprobs"));
  EXPECT_THAT(ChatError(R"({"messages": [{"role": "user", "content": "w1"}], "tools": []})"),
              HasSubstr("tools: expected a known field"));
  EXPECT_EQ(
      ChatError(
          R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "w1"}]}], "max_completion_tokens": 3})"),
      "accepted");
}

TEST_F(OpenAiTest, TextWaitsWhereAStopStringMayBegin) {
  const std::vector<std::string> stops = {"w3 w4", "w31"};
  ChoiceText text(tiny_.text.tokenizer.get(), &stops);
  EXPECT_EQ(text.Add(Update({1, 2})), "w1 w2");
  EXPECT_EQ(text.Add(Update({3})), " ");  // "w3" may begin either
  EXPECT_EQ(text.Add(Update({5})), "w3 w5");
  EXPECT_EQ(text.Add(Update({30, 3})), " w30 ");
  EXPECT_EQ(text.Add(Update({4}, true, engine::FinishReason::kStopString)), "");
}

TEST_F(OpenAiTest, AStreamSaysWhatTheWholeSays) {
  for (const bool chat : {false, true}) {
    json body = {{"stop", "w8"}, {"n", 2}};
    if (chat) {
      body.update({{"messages", {{{"role", "user"}, {"content", "w1"}}}}, {"logprobs", true}});
    } else {
      body.update({{"prompt", "w1 w2"}, {"logprobs", 0}});
    }
    const auto request = chat ? ParseChatRequest(body, tiny_.text, 5) : ParseCompletionRequest(body, tiny_.text, 5);
    ASSERT_TRUE(request.ok()) << request.status();
    const ResponseHead head = {.id = "x", .created = 1, .model = "m", .fingerprint = "f"};
    std::vector<SampleUpdate> updates = {Update({4, 5}), Update({6}),
                                         Update({7, 8}, true, engine::FinishReason::kStopString), Update({9}, true)};
    updates[1].sample = updates[3].sample = 1;
    ResponseWriter whole(&*request, &tiny_.text, head), stream(&*request, &tiny_.text, head);
    std::vector<std::string> texts(2);
    std::vector<json> finishes(2), tokens(2, json::array());
    for (const SampleUpdate& update : updates) {
      whole.Keep(0, {&update, 1});
      for (const json& chunk : stream.Chunks(0, {&update, 1})) {
        const json& choice = chunk.at("choices").at(0);
        const size_t index = choice.at("index");
        texts[index] += chat ? choice.at("delta").value("content", "") : choice.at("text").get<std::string>();
        if (!choice.at("finish_reason").is_null()) finishes[index] = choice.at("finish_reason");
        const json& logprobs = choice.at("logprobs");
        for (const json& token : logprobs.at(chat ? "content" : "tokens"))
          tokens[index].push_back(chat ? token.at("token") : token);
      }
    }
    const json response = whole.Whole();
    EXPECT_EQ(response.at("object"), chat ? "chat.completion" : "text_completion");
    for (size_t i = 0; i < 2; ++i) {
      const json& choice = response.at("choices").at(i);
      EXPECT_EQ(chat ? choice.at("message").at("content") : choice.at("text"), texts[i]);
      EXPECT_EQ(choice.at("finish_reason"), finishes[i]);
    }
    EXPECT_EQ(texts, (std::vector<std::string>{"w4 w5 w7 ", "w6 w9"}));
    EXPECT_EQ(finishes, (std::vector<json>{"stop", "length"}));
    EXPECT_EQ(tokens[0], (json{"w4", "w5", "w7", "w8"}));
    EXPECT_EQ(response.at("usage").at("completion_tokens"), 6);
    EXPECT_EQ(stream.UsageChunk().at("usage"), response.at("usage"));
  }
}

}  // namespace
}  // namespace hone::serve
