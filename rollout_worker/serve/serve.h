// A model folder as a server: the OpenAI API over HTTP and RolloutService over gRPC, on one engine.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "rollout_worker/generate.h"

namespace hone::serve {

struct ServeOptions {
  LocalModel::Options model;
  std::string listen = "127.0.0.1:8000";  // HTTP
  std::string grpc_listen;                // "" = no gRPC
  std::string address_file;               // where the HTTP address is written once both listen; "" = nowhere
  std::string model_name;                 // "" = the folder's last name
  std::string api_key;                    // "" = none is asked for
  int max_requests = 1024;                // in work or waiting
  int max_connections = 256;
  int drain_seconds = 30;  // how long requests in work may go on after `stop`
};

// Serves until `stop` answers true (it is asked a few times a second); then new requests are refused with 503, those in
// work go on for `drain_seconds`, and what is left is cut off. `ready` is called with both addresses (the second ""
// without gRPC). Errors: as LocalModel::Open; UNAVAILABLE: a port in use.
absl::Status Serve(const ServeOptions& options, const std::function<bool()>& stop,
                   const std::function<void(const std::string&, const std::string&)>& ready);

}  // namespace hone::serve
