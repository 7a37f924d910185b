// An engine behind the OpenAI API over HTTP.
//
//   POST /v1/completions, /v1/chat/completions    whole or as server-sent events
//   GET  /v1/models, /v1/models/{id}, /health, /version, /metrics
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "rollout_worker/loaded_model.h"
#include "rollout_worker/serve/generation_loop.h"

namespace hone::serve {

// Owns one listening server and its threads. A client that goes away cancels its requests; one that does not read for
// `write_timeout_seconds` counts as gone.
class HttpServer {
 public:
  struct Options {
    std::string listen;         // "host:port"; port 0 = any free one
    std::string model_name;     // as clients name it
    std::string fingerprint;    // system_fingerprint of each response
    std::string api_key;        // "" = none is asked for; else as a bearer token
    int max_connections = 256;  // answered at once; others wait
    int write_timeout_seconds = 30;
    int64_t max_body_bytes = 64 << 20;
  };
  // INVALID_ARGUMENT: `listen` is not host:port. UNAVAILABLE: it cannot be listened on; the message names it. `text`
  // and `loop` must outlive the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const Options& options, const ModelText& text,
                                                           GenerationLoop* loop);
  // Waits for the responses in flight.
  ~HttpServer();
  // "host:port" with the real port.
  std::string address() const;
  // What /health answers: 200, or 503 from now on.
  void SetServing(bool serving);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::serve
