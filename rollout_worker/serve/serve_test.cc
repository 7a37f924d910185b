// A real server on a tiny model, and real clients.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "kernels/random.h"
#include "rollout_worker/serve/http_server.h"
#include "rollout_worker/serve/rpc_service.h"
#include "rollout_worker/serve/testing/tiny_server.h"
#include "rpc/server.h"

namespace hone::serve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Waits for what another thread brings about.
void Until(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

class ServeTest : public ::testing::Test {
 protected:
  void Start(HttpServer::Options options = {}, GenerationLoop::Options loop_options = {}) {
    engine_ = tiny_.MakeEngine();
    loop_ = std::make_unique<GenerationLoop>(engine_.get(), loop_options);
    options.listen = "127.0.0.1:0";
    options.model_name = "tiny";
    options.fingerprint = "print";
    auto server = HttpServer::Start(options, tiny_.text, loop_.get());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    client_.emplace("http://" + server_->address());
    client_->set_read_timeout(60);
  }
  json Post(const std::string& path, const json& body, int expected_status = 200) {
    const auto result = client_->Post(path, body.dump(), "application/json");
    EXPECT_TRUE(result) << httplib::to_string(result.error());
    if (!result) return {};
    EXPECT_EQ(result->status, expected_status) << result->body;
    return json::parse(result->body, nullptr, false);
  }
  // The events of a stream but for the last, which must be [DONE].
  std::vector<json> Stream(const std::string& path, json body) {
    body["stream"] = true;
    const auto result = client_->Post(path, body.dump(), "application/json");
    EXPECT_TRUE(result && result->status == 200);
    EXPECT_EQ(result->get_header_value("Content-Type"), "text/event-stream");
    std::vector<json> events;
    std::istringstream lines(result->body);
    std::string line, last;
    while (std::getline(lines, line)) {
      if (line.empty()) continue;
      EXPECT_THAT(line, StartsWith("data: "));
      if (!last.empty()) events.push_back(json::parse(last));
      last = line.substr(6);
    }
    EXPECT_EQ(last, "[DONE]");
    return events;
  }
  // What the engine says to a prompt by itself.
  engine::GroupResult Alone(engine::GroupRequest request, uint64_t seed) {
    request.key = kernels::StreamKey(seed, "openai");
    const auto engine = tiny_.MakeEngine();
    EXPECT_TRUE(engine->SubmitGroup(std::move(request)).ok());
    for (;;) {
      std::vector<engine::GroupResult> results = engine->Step();
      if (!results.empty()) return std::move(results[0]);
    }
  }

  const TinyModel tiny_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<GenerationLoop> loop_;
  std::unique_ptr<HttpServer> server_;
  std::optional<httplib::Client> client_;
};

TEST_F(ServeTest, CompletionsAreTheEnginesOwn) {
  Start();
  const engine::GroupResult expected = Alone({.prompt = {5, 6, 7}, .samples = 3, .max_new_tokens = 20}, 11);
  const json body = {{"model", "tiny"},  {"prompt", "w5 w6 w7"}, {"n", 3},
                     {"max_tokens", 20}, {"seed", 11},           {"logprobs", 2}};
  const json response = Post("/v1/completions", body);
  EXPECT_EQ(response.at("model"), "tiny");
  EXPECT_EQ(response.at("system_fingerprint"), "print");
  EXPECT_EQ(response.at("seed"), 11);
  ASSERT_EQ(response.at("choices").size(), 3u);
  int64_t tokens = 0;
  for (size_t i = 0; i < 3; ++i) {
    const json& choice = response.at("choices").at(i);
    const engine::SampledCompletion& sample = expected.samples[i];
    EXPECT_EQ(choice.at("index"), i);
    EXPECT_EQ(choice.at("text"), tiny_.text.tokenizer->Decode(sample.tokens, true));
    EXPECT_EQ(choice.at("finish_reason"), sample.finish == engine::FinishReason::kLength ? "length" : "stop");
    const json& logprobs = choice.at("logprobs");
    ASSERT_EQ(logprobs.at("tokens").size(), sample.tokens.size());
    for (size_t t = 0; t < sample.tokens.size(); ++t) {
      const float logprob = logprobs.at("token_logprobs").at(t);
      EXPECT_EQ(logprob, sample.logprobs[t]);
      const json& top = logprobs.at("top_logprobs").at(t);
      EXPECT_EQ(top.size(), 2u);
      for (const auto& [token, value] : top.items()) {
        if (token == logprobs.at("tokens").at(t)) {
          EXPECT_EQ(value.get<float>(), logprob) << "one number for one token";
        } else {
          EXPECT_TRUE(value.get<float>() >= logprob || top.contains(logprobs.at("tokens").at(t).get<std::string>()));
        }
      }
    }
    tokens += static_cast<int64_t>(sample.tokens.size());
  }
  EXPECT_EQ(response.at("usage").at("prompt_tokens"), 3);
  EXPECT_EQ(response.at("usage").at("completion_tokens"), tokens);
  // The same again, in pieces.
  json streamed = body;
  streamed["stream_options"] = {{"include_usage", true}};
  std::vector<std::string> texts(3);
  const std::vector<json> events = Stream("/v1/completions", streamed);
  for (const json& event : events) {
    for (const json& choice : event.at("choices"))
      texts[choice.at("index").get<size_t>()] += choice.at("text").get<std::string>();
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(texts[i], response.at("choices").at(i).at("text"));
  EXPECT_EQ(events.back().at("usage"), response.at("usage"));
}

TEST_F(ServeTest, SeveralPromptsAndChats) {
  Start();
  const json both = Post("/v1/completions", {{"prompt", {"w5 w6", "w9"}}, {"n", 2}, {"seed", 3}, {"temperature", 1}});
  ASSERT_EQ(both.at("choices").size(), 4u);
  const engine::GroupResult second = Alone({.stream = 1, .prompt = {9}, .samples = 2, .max_new_tokens = 16}, 3);
  EXPECT_EQ(both.at("choices").at(3).at("text"), tiny_.text.tokenizer->Decode(second.samples[1].tokens, true));

  const json chat_body = {{"messages", {{{"role", "user"}, {"content", "w5"}}}}, {"max_tokens", 10}, {"seed", 3}};
  const json chat = Post("/v1/chat/completions", chat_body);
  EXPECT_EQ(chat.at("object"), "chat.completion");
  EXPECT_EQ(chat.at("choices").at(0).at("message").at("role"), "assistant");
  std::string text;
  const std::vector<json> events = Stream("/v1/chat/completions", chat_body);
  EXPECT_EQ(events.at(0).at("choices").at(0).at("delta").at("role"), "assistant");
  for (const json& event : events) text += event.at("choices").at(0).at("delta").value("content", "");
  EXPECT_EQ(text, chat.at("choices").at(0).at("message").at("content"));
}

TEST_F(ServeTest, EchoScoresThePrompt) {
  Start();
  const std::vector<int32_t> prompt = {5, 6, 7, 20, 21};
  const json response = Post(
      "/v1/completions", {{"prompt", prompt}, {"echo", true}, {"max_tokens", 0}, {"logprobs", 1}, {"temperature", 0}});
  const json& choice = response.at("choices").at(0);
  EXPECT_EQ(choice.at("text"), "w5 w6 w7 w20 w21");
  const auto scores = tiny_.MakeEngine()->Score({5}, {6, 7, 20, 21}, 1, 1);
  ASSERT_TRUE(scores.ok());
  const json& logprobs = choice.at("logprobs");
  ASSERT_EQ(logprobs.at("token_logprobs").size(), 5u);
  EXPECT_TRUE(logprobs.at("token_logprobs").at(0).is_null());
  EXPECT_TRUE(logprobs.at("top_logprobs").at(0).is_null());
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(logprobs.at("token_logprobs").at(i).get<float>(), scores->logprobs[i - 1]);
    const json& top = logprobs.at("top_logprobs").at(i);
    ASSERT_EQ(top.size(), 1u);
    EXPECT_EQ(top.begin().value().get<float>(), scores->top[i - 1].logprob);
    EXPECT_GE(top.begin().value().get<float>(), scores->logprobs[i - 1]);
  }
  EXPECT_EQ(response.at("usage").at("completion_tokens"), 0);
  // With a continuation behind it.
  const json longer = Post(
      "/v1/completions", {{"prompt", prompt}, {"echo", true}, {"max_tokens", 1}, {"logprobs", 1}, {"temperature", 0}});
  EXPECT_EQ(longer.at("choices").at(0).at("logprobs").at("token_logprobs").size(), 6u);
}

TEST_F(ServeTest, ErrorsAreOpenAis) {
  Start({.max_body_bytes = 2000});
  const auto error = [&](const std::string& path, const std::string& body) {
    const auto result = client_->Post(path, body, "application/json");
    const json parsed = json::parse(result->body, nullptr, false);
    return std::pair(result->status, parsed.is_object() ? parsed.at("error") : json(result->body));
  };
  auto [status, what] = error("/v1/completions", "{");
  EXPECT_EQ(status, 400);
  EXPECT_EQ(what.at("message"), "the body is not JSON");
  std::tie(status, what) = error("/v1/completions", R"({"n": )" + std::string(900, '[') + std::string(900, ']') + "}");
  EXPECT_EQ(status, 400);
  EXPECT_EQ(what.at("message"), "the body is nested deeper than 32 levels");
  std::tie(status, what) = error("/v1/completions", R"({"prompt": "w1", "temperature": -1})");
  EXPECT_EQ(status, 400);
  EXPECT_EQ(what.at("param"), "temperature");
  EXPECT_EQ(what.at("type"), "invalid_request_error");
  std::tie(status, what) = error("/v1/completions", R"({"prompt": "w1", "model": "gpt"})");
  EXPECT_EQ(status, 404);
  EXPECT_EQ(what.at("code"), "model_not_found");
  EXPECT_EQ(what.at("message"), "model: expected 'tiny', got 'gpt'");
  std::tie(status, what) = error("/v1/completions", R"({"prompt": "w1", "logit_bias": {"61": 1}})");
  EXPECT_EQ(status, 400);
  EXPECT_THAT(what.at("message").get<std::string>(), HasSubstr("[0, 61), got 61"));
  std::tie(status, what) = error("/v1/nothing", "{}");
  EXPECT_EQ(status, 404);
  EXPECT_EQ(what.at("message"), "no such path: /v1/nothing");
  std::tie(status, what) = error("/v1/completions", json{{"prompt", std::string(3000, 'w')}}.dump());
  EXPECT_EQ(status, 413);
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "w1"}, {"max_tokens", 2}}).at("choices").size(), 1u)
      << "it still serves";
}

TEST_F(ServeTest, AClientThatGoesAwayCancelsItsRequest) {
  Start();
  for (const bool stream : {true, false}) {
    const int64_t before = loop_->stats().cancelled;
    json body = {
        {"prompt", "w5 w6"}, {"max_tokens", 110}, {"n", 64}, {"stream", stream}, {"logit_bias", {{"3", -100}}}};
    std::thread client([&] {
      httplib::Client impatient("http://" + server_->address());
      impatient.set_read_timeout(stream ? 60 : 0, 100'000);
      httplib::Request request;
      request.method = "POST";
      request.path = "/v1/completions";
      request.body = body.dump();
      request.content_receiver = [](const char*, size_t, uint64_t, uint64_t) { return false; };
      const auto result = impatient.send(request);
      EXPECT_FALSE(result);
    });
    client.join();
    Until([&] { return loop_->stats().requests == 0; });
    EXPECT_LE(loop_->stats().cancelled, before + 1);
  }
  EXPECT_GT(loop_->stats().cancelled, 0);
  EXPECT_EQ(engine_->stats().kv_use, 0);
}

TEST_F(ServeTest, TooManyRequestsAreRefusedAndDrainingEnds) {
  Start({}, {.max_requests = 1});
  engine::GroupRequest request = {.prompt = {5}, .samples = 64, .max_new_tokens = 110, .min_new_tokens = 110};
  auto first = loop_->Submit(request);
  ASSERT_TRUE(first.ok()) << first.status();
  const json refused = Post("/v1/completions", {{"prompt", "w1"}}, 429);
  EXPECT_THAT(refused.at("error").at("message").get<std::string>(), HasSubstr("too many requests"));
  EXPECT_EQ(loop_->stats().refused, 1);
  EXPECT_EQ(client_->Get("/health")->status, 200);
  server_->SetServing(false);
  EXPECT_TRUE(loop_->Drain(std::chrono::seconds(60)));
  size_t tokens = 0;
  while (!(*first)->done()) {
    for (const SampleUpdate& update : (*first)->Wait(std::chrono::seconds(1))) tokens += update.tokens.size();
  }
  EXPECT_EQ(tokens, 64u * 110u) << "what was in work is finished";
  EXPECT_FALSE((*first)->cut_off());
  EXPECT_EQ(client_->Get("/health")->status, 503);
  Post("/v1/completions", {{"prompt", "w1"}}, 503);
}

TEST_F(ServeTest, StoppingCutsOffWhatIsInWork) {
  Start();
  auto call = loop_->Submit({.prompt = {5}, .samples = 64, .max_new_tokens = 110, .min_new_tokens = 110});
  ASSERT_TRUE(call.ok());
  loop_->Stop();
  while (!(*call)->done()) (*call)->Wait(std::chrono::seconds(1));
  EXPECT_TRUE((*call)->cut_off());
  EXPECT_EQ(loop_->Submit({.prompt = {5}}).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ServeTest, WhatTheCacheCouldNeverHoldIsARefusedRequest) {
  engine_ = tiny_.MakeEngine({.page_tokens = 16,
                              .kv_cache_bytes = 3 * static_cast<int64_t>(model::KvCache::BytesPerPage(
                                                        tiny_.text.config, kernels::DType::kF32, 16))});
  GenerationLoop loop(engine_.get(), {});
  EXPECT_EQ(loop.Submit({.prompt = {5}, .max_new_tokens = 100}).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(loop.Submit({.prompt = {5}, .max_new_tokens = 10}).ok());
}

TEST_F(ServeTest, AKeyIsAskedFor) {
  Start({.api_key = "secret"});
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "w1"}}, 401).at("error").at("code"), "invalid_api_key");
  EXPECT_EQ(client_->Get("/health")->status, 200);
  client_->set_bearer_token_auth("secret");
  Post("/v1/completions", {{"prompt", "w1"}});
}

TEST_F(ServeTest, ModelsMetricsAndPorts) {
  Start();
  const json models = json::parse(client_->Get("/v1/models")->body);
  EXPECT_EQ(models.at("data").at(0).at("id"), "tiny");
  EXPECT_EQ(models.at("data").at(0).at("max_model_len"), 120);
  EXPECT_EQ(json::parse(client_->Get("/v1/models/tiny")->body).at("object"), "model");
  EXPECT_EQ(client_->Get("/v1/models/other")->status, 404);
  Post("/v1/completions", {{"prompt", "w1 w2"}, {"max_tokens", 4}, {"min_tokens", 4}});
  Until([&] { return loop_->stats().engine.running_sequences == 0; });
  const std::string metrics = client_->Get("/metrics")->body;
  EXPECT_THAT(metrics, HasSubstr("\nhone_generation_tokens_total 4\n"));
  EXPECT_THAT(metrics, HasSubstr("\nhone_prompt_tokens_total 2\n"));
  EXPECT_THAT(metrics, HasSubstr("\nhone_requests_finished_total 1\n"));
  EXPECT_THAT(metrics, HasSubstr("hone_http_responses_total{code=\"404\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("hone_time_to_first_token_seconds_count 1\n"));
  const auto second = HttpServer::Start({.listen = server_->address(), .model_name = "x"}, tiny_.text, loop_.get());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("Address already in use"));
}

TEST_F(ServeTest, RpcGeneratesAndScores) {
  Start();
  RpcService service(tiny_.text, {.root_hash = "abc"}, "key", loop_.get());
  auto rpc = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(rpc.ok()) << rpc.status();
  const auto stub =
      v1::RolloutService::NewStub(grpc::CreateChannel((*rpc)->address(), grpc::InsecureChannelCredentials()));
  v1::GenerateRequest request;
  request.set_prompt("w5 w6");
  request.set_samples(2);
  request.mutable_sampling()->set_max_new_tokens(30);
  v1::ThinkingSpec& thinking = *request.mutable_sampling()->mutable_thinking();
  thinking.set_begin("");
  thinking.set_end("w60");
  thinking.set_max_tokens(5);
  thinking.set_answer_cue(" w50");
  v1::GenerateRequest absurd = request;
  absurd.set_samples(2'000'000'000);
  v1::GenerateResponse none;
  grpc::ClientContext refused;
  EXPECT_THAT(stub->Generate(&refused, absurd, &none).error_message(), HasSubstr("samples: expected 1 to"));
  v1::GenerateResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub->Generate(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.trajectories_size(), 2);
  EXPECT_EQ(response.version().root_hash(), "abc");
  for (const v1::Trajectory& trajectory : response.trajectories()) {
    int count = 0;
    for (const v1::SourceRun& run : trajectory.sources()) count += run.count();
    EXPECT_EQ(count, trajectory.tokens_size());
    EXPECT_TRUE(trajectory.sources_size() < 2 || trajectory.sources(1).source() == v1::TOKEN_SOURCE_FORCED);
    v1::ScoreTokensRequest score;
    score.mutable_prompt_tokens()->CopyFrom(response.prompt_tokens());
    score.mutable_tokens()->CopyFrom(trajectory.tokens());
    v1::ScoreTokensResponse scores;
    grpc::ClientContext scoring;
    ASSERT_TRUE(stub->ScoreTokens(&scoring, score, &scores).ok());
    for (int t = 0, run = 0, left = trajectory.sources(0).count(); t < trajectory.tokens_size(); ++t, --left) {
      while (left == 0) left = trajectory.sources(++run).count();
      const bool sampled = trajectory.sources(run).source() == v1::TOKEN_SOURCE_SAMPLED;
      EXPECT_EQ(trajectory.rollout_logprobs(t), sampled ? scores.logprobs(t) : 0) << t;
    }
  }
}

}  // namespace
}  // namespace hone::serve
