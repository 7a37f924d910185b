// The weight channel: how a learner's new weights reach those who sample from them, whatever the transport.
//
// A learner publishes immutable snapshots; a receiver gets a version whole and checked, or an error: there is no half
// version. Transports: gRPC streams (weight_server.h, weight_receiver.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "kernels/ops.h"

namespace hone {

// A point in the history of a run's weights (proto: PolicyVersion).
struct WeightVersion {
  std::string run;
  int64_t number = 0;
  int64_t parent = -1;        // -1: a root
  int64_t learner_epoch = 0;  // in which it was published
  std::string root_hash;      // canonical hash of the fp32 masters
};

// One tensor as it is sent.
struct WeightTensor {
  std::string name;
  std::vector<int64_t> shape;
  kernels::DType dtype = kernels::DType::kF32;
  std::string sha256;                // of `bytes`
  std::span<const std::byte> bytes;  // little-endian, row-major; owned by the snapshot
};

// The files that make a model of the weights, by name: config.json, tokenizer.json, tokenizer_config.json,
// generation_config.json and the like; absent ones are not in the map.
using ModelFiles = std::map<std::string, std::string>;

// SHA-256 over one line per tensor, in the given order: "<name> <F32|BF16> <d0>x<d1>... <sha256>\n". Of fp32 tensors in
// name order it is the root hash of the masters.
std::string ContentHash(std::span<const WeightTensor> tensors);
// SHA-256 over "<name> <sha256 of the contents>\n" for each file, in name order.
std::string ModelFilesHash(const ModelFiles& files);

// A version with its bytes. Immutable once made, so that any number of streams may read it without locks.
class WeightSnapshot {
 public:
  WeightSnapshot(WeightVersion version, ModelFiles files, std::vector<WeightTensor> tensors,
                 kernels::AlignedBuffer<std::byte> storage);
  const WeightVersion& version() const { return version_; }
  const ModelFiles& model_files() const { return files_; }
  const std::string& model_files_hash() const { return files_hash_; }
  const std::vector<WeightTensor>& tensors() const { return tensors_; }
  const std::string& content_hash() const { return content_hash_; }
  size_t size_bytes() const { return storage_.size(); }

  // Gets each tensor's values as fp32 (exact, in both dtypes), in order. The values live until the visitor returns; the
  // first error ends the walk and is returned.
  using Visitor = std::function<absl::Status(std::string_view name, std::span<const float> values)>;
  absl::Status VisitTensors(const kernels::KernelContext& context, const Visitor& visitor) const;

 private:
  WeightVersion version_;
  ModelFiles files_;
  std::string files_hash_;
  std::vector<WeightTensor> tensors_;
  kernels::AlignedBuffer<std::byte> storage_;
  std::string content_hash_;
};

// The sending side. Thread-safe.
class WeightPublisher {
 public:
  virtual ~WeightPublisher() = default;
  // From now on `snapshot` is what its run's version number names here. The newest `keep` versions of its run stay; of
  // all others transfers in progress are aborted.
  virtual void Publish(std::shared_ptr<const WeightSnapshot> snapshot, int keep) = 0;
  void Publish(std::shared_ptr<const WeightSnapshot> snapshot) { Publish(std::move(snapshot), 1); }
};

// The receiving side. Thread-safe.
class WeightReceiver {
 public:
  struct Request {
    std::string address;  // of the sender
    std::string run;
    int64_t version = 0;
    std::string root_hash;  // expected; "" takes any
    absl::Duration timeout = absl::Minutes(10);
    std::function<bool()> cancelled;  // may be empty; looked at between chunks
  };
  virtual ~WeightReceiver() = default;
  // The version whole, every tensor's checksum, the content hash and (by name; by value where the tensors are fp32) the
  // root hash verified. NOT_FOUND: not, or no longer, served there: ask the coordinator again. ABORTED: replaced during
  // the transfer. DATA_LOSS: what came does not match its checksums (the message names the tensor). DEADLINE_EXCEEDED,
  // UNAVAILABLE, CANCELLED.
  virtual absl::StatusOr<std::shared_ptr<const WeightSnapshot>> Receive(const Request& request) = 0;
  // Tells the sender that `member_id` holds the snapshot.
  virtual absl::Status Acknowledge(const Request& request, const std::string& member_id,
                                   const WeightSnapshot& snapshot) = 0;
};

}  // namespace hone
