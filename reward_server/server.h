// The reward server: RewardService over gRPC, and its membership in the cluster.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace hone {
class Membership;
class RpcServer;
class ShutdownSignal;
}  // namespace hone

namespace hone::reward {

// Owns its services and threads. Thread-safe.
class RewardServer {
 public:
  struct Options {
    std::string listen = "127.0.0.1:0";
    std::string address_file;
    std::string coordinator;  // "" = none: serves without registering
  };
  static absl::StatusOr<std::unique_ptr<RewardServer>> Start(const Options& options);
  ~RewardServer();
  RewardServer(const RewardServer&) = delete;
  RewardServer& operator=(const RewardServer&) = delete;

  std::string address() const;
  // Waits for the signal, then leaves: calls in flight may end within 10 s.
  void ServeUntil(ShutdownSignal& shutdown);

 private:
  class Service;
  RewardServer();
  std::unique_ptr<Service> service_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<Membership> membership_;
};

}  // namespace hone::reward
