// A synchronous gRPC server with what every Hone process offers: health checking, reflection, 64 MiB messages,
// keepalive.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace hone {

// Owns one listening server. Thread-safe. Services must outlive it. Destruction shuts down without grace.
class RpcServer {
 public:
  struct Options {
    std::string listen;        // "host:port"; port 0 = any free one
    std::string address_file;  // where address() is written, atomically, once the server listens; "" = nowhere
  };

  // INVALID_ARGUMENT: `listen` is not host:port. UNAVAILABLE: it cannot be listened on (a port in use); the message
  // names it. The health service answers SERVING from the start (for "", the whole server).
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const Options& options,
                                                          const std::vector<grpc::Service*>& services);
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  // "host:port" with the real port. A wildcard host (0.0.0.0, [::]) is given as this machine's name, so that others can
  // use it.
  std::string address() const { return address_; }
  // What the health service answers.
  void SetServing(bool serving);
  // Stops accepting calls, lets those in flight end for up to `grace`, then cancels them. Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  RpcServer(std::unique_ptr<grpc::Server> server, std::string address);
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace hone
