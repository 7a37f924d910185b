// The weight channel's sending side over gRPC streams (WeightService of proto/hone/v1/learner.proto).
#pragma once

#include <cstddef>
#include <memory>

#include "weight_sync/weight_channel.h"

namespace grpc {
class Service;
}

namespace hone {

inline constexpr size_t kMaxWeightChunkBytes = 1 << 20;

// Serves what was published and is kept. Thread-safe. Invariants:
//   1. A stream sends the bytes of one snapshot only; when that is no longer kept, the stream ends with ABORTED.
//   2. A snapshot lives as long as it is kept or anyone reads it, and no longer.
class WeightServer final : public WeightPublisher {
 public:
  WeightServer();
  ~WeightServer() override;
  WeightServer(const WeightServer&) = delete;
  WeightServer& operator=(const WeightServer&) = delete;

  // To be handed to rpc/server.h; owned by this object, which must outlive the server.
  grpc::Service* service();
  using WeightPublisher::Publish;
  void Publish(std::shared_ptr<const WeightSnapshot> snapshot, int keep) override;
  // Members that said they hold the newest snapshot.
  int acknowledgements() const;

 private:
  class Service;
  std::unique_ptr<Service> service_;
};

}  // namespace hone
