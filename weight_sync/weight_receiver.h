// The weight channel's receiving side over gRPC streams (WeightService of proto/hone/v1/learner.proto).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "weight_sync/weight_channel.h"

namespace grpc {
class Channel;
}

namespace hone {

// Thread-safe. Keeps the channel to the last address, so that each version does not connect anew.
//
//   GrpcWeightReceiver receiver;
//   HONE_ASSIGN_OR_RETURN(auto snapshot, receiver.Receive({.address = a, .run = run, .version = v, .root_hash =
//   hash})); HONE_RETURN_IF_ERROR(snapshot->VisitTensors(context, [&](std::string_view name, std::span<const float>
//   values) {
//     return weights.LoadTensor(name, values.data(), static_cast<int64_t>(values.size()));
//   }));
//   receiver.Acknowledge(request, member_id, *snapshot);
class GrpcWeightReceiver final : public WeightReceiver {
 public:
  // Refuses a manifest whose tensors claim more bytes than this together (RESOURCE_EXHAUSTED), before allocating. (Its
  // files come inside of it and are bounded by the size of a message.)
  explicit GrpcWeightReceiver(uint64_t max_bytes = uint64_t{64} << 30) : max_bytes_(max_bytes) {}

  absl::StatusOr<std::shared_ptr<const WeightSnapshot>> Receive(const Request& request) override;
  absl::Status Acknowledge(const Request& request, const std::string& member_id,
                           const WeightSnapshot& snapshot) override;

 private:
  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address);

  const uint64_t max_bytes_;
  std::mutex mutex_;  // guards what follows
  std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace hone
