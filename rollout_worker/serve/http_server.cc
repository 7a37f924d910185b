#include "rollout_worker/serve/http_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/strings.h"
#include "rollout_worker/serve/json_fields.h"
#include "rollout_worker/serve/metrics.h"
#include "rollout_worker/serve/openai_request.h"
#include "rollout_worker/serve/openai_response.h"
#include "rpc/listen_address.h"

namespace hone::serve {

using nlohmann::json;

namespace {

constexpr std::chrono::milliseconds kPoll{200};  // between two looks whether the client is still there
constexpr const char* kEventStream = "text/event-stream";
constexpr const char* kJson = "application/json";

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

struct HttpError {
  int status;
  const char* type;
};

HttpError ErrorOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return {400, "invalid_request_error"};
    case absl::StatusCode::kUnauthenticated:
      return {401, "authentication_error"};
    case absl::StatusCode::kNotFound:
      return {404, "not_found_error"};
    case absl::StatusCode::kResourceExhausted:
      return {429, "rate_limit_error"};
    case absl::StatusCode::kUnavailable:
      return {503, "service_unavailable_error"};
    default:
      return {500, "internal_error"};
  }
}

// The field that a message "<field>: expected ..." names; null where it names none.
json ParamOf(const absl::Status& status) {
  const std::string message(status.message());
  const size_t colon = message.find(": ");
  if (colon == std::string::npos || message.substr(0, colon).find(' ') != std::string::npos) return nullptr;
  return message.substr(0, colon);
}

json ErrorBody(const absl::Status& status, const char* type, const char* code) {
  return {{"error",
           {{"message", std::string(status.message())},
            {"type", type},
            {"param", ParamOf(status)},
            {"code", code == nullptr ? json() : json(code)}}}};
}

// Instead of what is left of a response whose status is out already.
json CutOff() {
  const absl::Status status = absl::UnavailableError("the server was shut down before the request was finished");
  return ErrorBody(status, ErrorOf(status).type, nullptr);
}

std::string RandomId() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return absl::StrFormat("%016x%016x", random(), random());
}

uint64_t RandomSeed() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return random() >> 11;  // 53 bits: JSON readers that know doubles alone give it back as it was
}

// One request from its arrival on.
struct Session {
  Session(ApiRequest parsed, const ModelText* text, ResponseHead head)
      : request(std::move(parsed)), writer(&request, text, std::move(head)) {}
  const ApiRequest request;
  ResponseWriter writer;
  std::vector<std::unique_ptr<GenerationLoop::Call>> calls;  // by prompt
  absl::Time arrival;
  bool opened = false;       // a stream: the first chunks are out
  bool first_token = false;  // it has been seen

  bool done() const {
    return std::all_of(calls.begin(), calls.end(), [](const auto& call) { return call->done(); });
  }
  bool cut_off() const {
    return std::any_of(calls.begin(), calls.end(), [](const auto& call) { return call->cut_off(); });
  }
};

}  // namespace

struct HttpServer::Impl {
  Impl(const Options& given, const ModelText& model_text, GenerationLoop* generation)
      : options(given), text(model_text), loop(*generation) {}

  void Route();
  void Refuse(const absl::Status& status, httplib::Response* response, const char* code = nullptr);
  void Generate(bool chat, const httplib::Request& request, httplib::Response* response);
  absl::StatusOr<std::shared_ptr<Session>> Begin(bool chat, const std::string& body);
  json ModelEntry() const;

  // Content of a response, piece by piece: both answer false where the client is gone.
  bool Stream(Session* session, httplib::DataSink* sink);
  bool Whole(Session* session, httplib::DataSink* sink);
  // What came, for each prompt; nothing where nothing did for a while.
  std::vector<std::pair<size_t, std::vector<SampleUpdate>>> Collect(Session* session);
  void Finish(Session* session);

  const Options options;
  const ModelText& text;
  GenerationLoop& loop;
  const int64_t started = absl::ToUnixSeconds(absl::Now());
  ServerMetrics metrics;
  std::atomic<bool> serving{true};
  httplib::Server server;
  std::string address;
  std::thread thread;
};

void HttpServer::Impl::Refuse(const absl::Status& status, httplib::Response* response, const char* code) {
  const HttpError error = ErrorOf(status);
  response->status = error.status;
  if (error.status == 429 || error.status == 503) response->set_header("Retry-After", "1");
  response->set_content(Dump(ErrorBody(status, error.type, code)), kJson);
}

json HttpServer::Impl::ModelEntry() const {
  return {{"id", options.model_name},
          {"object", "model"},
          {"created", started},
          {"owned_by", "hone"},
          {"max_model_len", text.config.max_positions}};
}

void HttpServer::Impl::Route() {
  server.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    const bool open = request.path == "/health" || request.path == "/metrics" || request.path == "/version";
    if (options.api_key.empty() || open ||
        request.get_header_value("Authorization") == absl::StrCat("Bearer ", options.api_key)) {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    Refuse(absl::UnauthenticatedError("the request has no valid API key in its header 'Authorization: Bearer ...'"),
           &response, "invalid_api_key");
    return httplib::Server::HandlerResponse::Handled;
  });
  server.Get("/health", [this](const httplib::Request&, httplib::Response& response) {
    response.status = serving ? 200 : 503;
    response.set_content(serving ? R"({"status":"ok"})" : R"({"status":"shutting down"})", kJson);
  });
  server.Get("/version", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(Dump(json{{"version", HONE_VERSION}}), kJson);
  });
  server.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics.Text(loop.stats()), "text/plain; version=0.0.4");
  });
  server.Get("/v1/models", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(Dump({{"object", "list"}, {"data", json::array({ModelEntry()})}}), kJson);
  });
  server.Get(R"(/v1/models/(.+))", [this](const httplib::Request& request, httplib::Response& response) {
    if (request.matches[1] == options.model_name) return response.set_content(Dump(ModelEntry()), kJson);
    Refuse(absl::NotFoundError(absl::StrCat("model: expected '", options.model_name, "', got '",
                                            MendUtf8(request.matches[1].str()), "'")),
           &response, "model_not_found");
  });
  server.Post("/v1/completions", [this](const httplib::Request& request, httplib::Response& response) {
    Generate(/*chat=*/false, request, &response);
  });
  server.Post("/v1/chat/completions", [this](const httplib::Request& request, httplib::Response& response) {
    Generate(/*chat=*/true, request, &response);
  });
  // Paths that there are not, and what the library itself refuses.
  server.set_error_handler([this](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;
    const int status = response.status;
    const std::string what = status == 404   ? absl::StrCat("no such path: ", MendUtf8(request.path))
                             : status == 413 ? absl::StrCat("the body is too large: at most ", options.max_body_bytes,
                                                            " bytes, with Content-Type: application/json")
                                             : absl::StrCat("the request was refused with status ", status);
    response.set_content(Dump(ErrorBody(absl::InvalidArgumentError(what), "invalid_request_error", nullptr)), kJson);
  });
  server.set_logger(
      [this](const httplib::Request&, const httplib::Response& response) { metrics.CountResponse(response.status); });
}

absl::StatusOr<std::shared_ptr<Session>> HttpServer::Impl::Begin(bool chat, const std::string& body) {
  HONE_ASSIGN_OR_RETURN(const json parsed, ParseBody(body));
  HONE_ASSIGN_OR_RETURN(ApiRequest request, chat ? ParseChatRequest(parsed, text, RandomSeed())
                                                 : ParseCompletionRequest(parsed, text, RandomSeed()));
  if (!request.model.empty() && request.model != options.model_name) {
    return absl::NotFoundError(
        absl::StrCat("model: expected '", options.model_name, "', got '", MendUtf8(request.model), "'"));
  }
  ResponseHead head = {.id = absl::StrCat(chat ? "chatcmpl-" : "cmpl-", RandomId()),
                       .created = absl::ToUnixSeconds(absl::Now()),
                       .model = options.model_name,
                       .fingerprint = options.fingerprint};
  auto session = std::make_shared<Session>(std::move(request), &text, std::move(head));
  session->arrival = absl::Now();
  for (size_t i = 0; i < session->request.groups.size(); ++i) {
    const engine::GroupRequest& group = session->request.groups[i];
    if (!session->request.prompts_only) {
      HONE_ASSIGN_OR_RETURN(auto call, loop.Submit(group));
      session->calls.push_back(std::move(call));
    }
    if (session->request.echo && session->request.with_logprobs && group.prompt.size() > 1) {
      const float temperature = group.sampling.temperature > 0 ? group.sampling.temperature : 1.0f;
      HONE_ASSIGN_OR_RETURN(engine::TokenScores scores,
                            loop.Score({group.prompt[0]}, {group.prompt.begin() + 1, group.prompt.end()}, temperature,
                                       group.top_logprobs));
      session->writer.KeepPromptScores(i, std::move(scores));
    }
  }
  return session;
}

void HttpServer::Impl::Generate(bool chat, const httplib::Request& request, httplib::Response* response) {
  absl::StatusOr<std::shared_ptr<Session>> begun = Begin(chat, request.body);
  if (!begun.ok()) {
    return Refuse(begun.status(), response, absl::IsNotFound(begun.status()) ? "model_not_found" : nullptr);
  }
  const std::shared_ptr<Session> session = *std::move(begun);
  const bool stream = session->request.stream;
  response->set_chunked_content_provider(stream ? kEventStream : kJson,
                                         [this, session, stream](size_t, httplib::DataSink& sink) {
                                           return stream ? Stream(session.get(), &sink) : Whole(session.get(), &sink);
                                         });
}

std::vector<std::pair<size_t, std::vector<SampleUpdate>>> HttpServer::Impl::Collect(Session* session) {
  std::vector<std::pair<size_t, std::vector<SampleUpdate>>> all;
  bool waited = false;
  for (size_t i = 0; i < session->calls.size(); ++i) {
    if (session->calls[i]->done()) continue;
    // One call is waited for, the others are looked at.
    std::vector<SampleUpdate> updates = session->calls[i]->Wait(waited ? std::chrono::milliseconds(0) : kPoll);
    waited = true;
    if (!updates.empty()) all.emplace_back(i, std::move(updates));
  }
  if (!all.empty() && !session->first_token) {
    session->first_token = true;
    metrics.ObserveFirstToken(absl::ToDoubleSeconds(absl::Now() - session->arrival));
  }
  return all;
}

void HttpServer::Impl::Finish(Session* session) {
  metrics.ObserveRequest(absl::ToDoubleSeconds(absl::Now() - session->arrival));
}

bool HttpServer::Impl::Stream(Session* session, httplib::DataSink* sink) {
  std::string events;
  const auto add = [&events](const json& chunk) { absl::StrAppend(&events, "data: ", Dump(chunk), "\n\n"); };
  if (!session->opened) {
    for (const json& chunk : session->writer.Opening()) add(chunk);
    session->opened = true;
  }
  for (const auto& [prompt, updates] : Collect(session)) {
    for (const json& chunk : session->writer.Chunks(prompt, updates)) add(chunk);
  }
  const bool done = session->done();
  if (done && session->cut_off()) {
    add(CutOff());
  } else if (done) {
    if (session->request.include_usage) add(session->writer.UsageChunk());
    events += "data: [DONE]\n\n";
  }
  if (!sink->is_writable() || (!events.empty() && !sink->write(events.data(), events.size()))) return false;
  if (done) {
    Finish(session);
    sink->done();
  }
  return true;
}

bool HttpServer::Impl::Whole(Session* session, httplib::DataSink* sink) {
  for (const auto& [prompt, updates] : Collect(session)) session->writer.Keep(prompt, updates);
  if (!session->done()) return sink->is_writable();
  const std::string body = Dump(session->cut_off() ? CutOff() : session->writer.Whole());
  if (!sink->write(body.data(), body.size())) return false;
  Finish(session);
  sink->done();
  return true;
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->server.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::string HttpServer::address() const { return impl_->address; }
void HttpServer::SetServing(bool serving) { impl_->serving = serving; }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const Options& options, const ModelText& text,
                                                              GenerationLoop* loop) {
  HONE_ASSIGN_OR_RETURN(const ListenAddress target, ParseListenAddress(options.listen));
  auto impl = std::make_unique<Impl>(options, text, loop);
  httplib::Server& server = impl->server;
  // Not SO_REUSEPORT, the library's default: a second server would silently share the port.
  server.set_socket_options([](socket_t socket) {
    const int one = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  });
  server.set_tcp_nodelay(true);
  server.set_payload_max_length(static_cast<size_t>(options.max_body_bytes));
  server.set_write_timeout(options.write_timeout_seconds);
  server.set_keep_alive_timeout(5);
  server.new_task_queue = [connections = options.max_connections] {
    return new httplib::ThreadPool(static_cast<size_t>(connections));
  };
  impl->Route();
  int port = std::stoi(target.port);
  if (port == 0) {
    port = server.bind_to_any_port(target.host);
  } else if (!server.bind_to_port(target.host, port)) {
    port = -1;
  }
  if (port <= 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen, ": ", WhyNotBound(target)));
  }
  impl->address = absl::StrCat(ReachableHost(target), ":", port);
  impl->thread = std::thread([&server] { server.listen_after_bind(); });
  while (!server.is_running()) std::this_thread::yield();  // before that stop() would do nothing
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

}  // namespace hone::serve
