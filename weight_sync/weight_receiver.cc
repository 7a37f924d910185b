#include "weight_sync/weight_receiver.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/sha256.h"
#include "hone/v1/learner.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace hone {
namespace {

constexpr size_t kAlignment = 64;  // of each tensor in the storage: a cache line

// Where a manifest's tensors go.
struct Plan {
  std::vector<WeightTensor> tensors;
  std::vector<size_t> offsets;
  ModelFiles files;
  kernels::AlignedBuffer<std::byte> storage;
};

absl::Status CheckEntry(const v1::TensorEntry& entry) {
  if (entry.dtype() != v1::DTYPE_FP32 && entry.dtype() != v1::DTYPE_BF16) {
    return absl::DataLossError(absl::StrCat("manifest: tensor '", entry.name(), "': expected dtype fp32 or bf16, got ",
                                            static_cast<int>(entry.dtype())));
  }
  uint64_t bytes = entry.dtype() == v1::DTYPE_BF16 ? 2 : 4;
  for (const int64_t dimension : entry.shape()) {
    if (dimension <= 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(dimension), &bytes)) {
      return absl::DataLossError(
          absl::StrCat("manifest: tensor '", entry.name(), "': impossible dimension ", dimension));
    }
  }
  if (bytes != entry.size_bytes()) {
    return absl::DataLossError(absl::StrCat("manifest: tensor '", entry.name(), "': expected ", bytes,
                                            " bytes by its shape, got ", entry.size_bytes()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> MakePlan(const v1::WeightManifest& manifest, uint64_t max_bytes) {
  Plan plan;
  uint64_t total = 0;
  for (const v1::TensorEntry& entry : manifest.tensors()) {
    HONE_RETURN_IF_ERROR(CheckEntry(entry));
    plan.offsets.push_back(total);
    if (entry.size_bytes() > max_bytes || total > max_bytes - entry.size_bytes()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("manifest: the tensors up to '", entry.name(), "' exceed the limit of ", max_bytes, " bytes"));
    }
    total += (entry.size_bytes() + kAlignment - 1) / kAlignment * kAlignment;
    plan.tensors.push_back({.name = entry.name(),
                            .shape = {entry.shape().begin(), entry.shape().end()},
                            .dtype = entry.dtype() == v1::DTYPE_BF16 ? kernels::DType::kBf16 : kernels::DType::kF32,
                            .sha256 = entry.sha256()});
  }
  plan.storage.Resize(total);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    plan.tensors[i].bytes = {plan.storage.data() + plan.offsets[i], manifest.tensors(static_cast<int>(i)).size_bytes()};
  }
  for (const v1::ModelFile& file : manifest.model_files()) plan.files[file.name()] = file.contents();
  return plan;
}

// What the manifest says about itself, checked before a byte of the tensors is asked for.
absl::Status CheckManifest(const v1::WeightManifest& manifest, const WeightReceiver::Request& request,
                           const Plan& plan) {
  if (manifest.version().number() != request.version) {
    return absl::DataLossError(
        absl::StrCat("manifest: expected version ", request.version, ", got ", manifest.version().number()));
  }
  if (!request.root_hash.empty() && manifest.version().root_hash() != request.root_hash) {
    return absl::DataLossError(absl::StrCat("version ", request.version, ": expected root hash ", request.root_hash,
                                            ", got ", manifest.version().root_hash()));
  }
  if (const std::string hash = ModelFilesHash(plan.files); hash != manifest.model_files_sha256()) {
    return absl::DataLossError(
        absl::StrCat("model files: expected hash ", manifest.model_files_sha256(), ", got ", hash));
  }
  if (const std::string hash = ContentHash(plan.tensors); hash != manifest.content_hash()) {
    return absl::DataLossError(
        absl::StrCat("manifest: expected content hash ", manifest.content_hash(), ", got ", hash));
  }
  bool all_fp32 = true;
  for (const WeightTensor& tensor : plan.tensors) all_fp32 &= tensor.dtype == kernels::DType::kF32;
  if (all_fp32 && manifest.content_hash() != manifest.version().root_hash()) {
    return absl::DataLossError(absl::StrCat("version ", request.version, ": the tensors are fp32, but their hash ",
                                            manifest.content_hash(), " is not the root hash ",
                                            manifest.version().root_hash()));
  }
  return absl::OkStatus();
}

// Puts the stream's chunks in place and checks each tensor once it is complete. Chunks come in the manifest's order.
class Assembler {
 public:
  explicit Assembler(Plan* plan) : plan_(plan) {}

  absl::Status Add(const v1::WeightChunk& chunk) {
    SkipEmpty();
    if (index_ >= plan_->tensors.size()) return absl::DataLossError("stream: more bytes than the manifest has");
    const WeightTensor& tensor = plan_->tensors[index_];
    if (chunk.tensor_index() != static_cast<int32_t>(index_) || chunk.offset_bytes() != offset_ ||
        chunk.data().empty() || chunk.data().size() > tensor.bytes.size() - offset_) {
      return absl::DataLossError(absl::StrCat("tensor '", tensor.name, "' (index ", index_, ", ", tensor.bytes.size(),
                                              " bytes): expected a chunk at byte ", offset_, ", got one of index ",
                                              chunk.tensor_index(), ", byte ", chunk.offset_bytes(), ", ",
                                              chunk.data().size(), " bytes long"));
    }
    std::memcpy(plan_->storage.data() + plan_->offsets[index_] + offset_, chunk.data().data(), chunk.data().size());
    hash_->Update(chunk.data());
    offset_ += chunk.data().size();
    return offset_ == tensor.bytes.size() ? FinishTensor() : absl::OkStatus();
  }

  absl::Status Finish() {
    SkipEmpty();
    if (index_ == plan_->tensors.size()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("tensor '", plan_->tensors[index_].name, "': expected ",
                                            plan_->tensors[index_].bytes.size(), " bytes, the stream ended after ",
                                            offset_));
  }

 private:
  void SkipEmpty() {
    while (index_ < plan_->tensors.size() && plan_->tensors[index_].bytes.empty()) ++index_;
  }

  absl::Status FinishTensor() {
    const WeightTensor& tensor = plan_->tensors[index_];
    if (const std::string hash = hash_->FinishHex(); hash != tensor.sha256) {
      return absl::DataLossError(
          absl::StrCat("tensor '", tensor.name, "': expected SHA-256 ", tensor.sha256, ", got ", hash));
    }
    hash_ = std::make_unique<Sha256>();
    ++index_;
    offset_ = 0;
    return absl::OkStatus();
  }

  Plan* plan_;
  size_t index_ = 0;
  size_t offset_ = 0;
  std::unique_ptr<Sha256> hash_ = std::make_unique<Sha256>();
};

constexpr double kSlowestBytesPerSecond = 4 << 20;  // of a link that a transfer waits for

absl::Status ReadStream(v1::WeightService::Stub* stub, const WeightReceiver::Request& request, absl::Time deadline,
                        Plan* plan) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  v1::FetchWeightsRequest fetch;
  fetch.set_run(request.run);
  fetch.set_version(request.version);
  auto reader = stub->FetchWeights(&context, fetch);
  Assembler assembler(plan);
  absl::Status status;
  v1::WeightChunk chunk;
  while (status.ok() && reader->Read(&chunk)) {
    if (request.cancelled && request.cancelled()) {
      status = absl::CancelledError("the transfer was given up");
    } else {
      status = assembler.Add(chunk);
    }
  }
  if (!status.ok()) context.TryCancel();
  const absl::Status end = FromGrpc(reader->Finish());
  HONE_RETURN_IF_ERROR(status);
  HONE_RETURN_IF_ERROR(end);
  return assembler.Finish();
}

}  // namespace

std::shared_ptr<grpc::Channel> GrpcWeightReceiver::ChannelTo(const std::string& address) {
  std::lock_guard lock(mutex_);
  if (channel_ == nullptr || address_ != address) {
    channel_ = CreateChannel(address);
    address_ = address;
  }
  return channel_;
}

absl::StatusOr<std::shared_ptr<const WeightSnapshot>> GrpcWeightReceiver::Receive(const Request& request) {
  absl::Time deadline = absl::Now() + request.timeout;
  const std::string where =
      absl::StrCat("weights of run '", request.run, "' version ", request.version, " from ", request.address);
  const auto stub = v1::WeightService::NewStub(ChannelTo(request.address));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  v1::GetManifestRequest get;
  get.set_run(request.run);
  get.set_version(request.version);
  v1::WeightManifest manifest;
  HONE_RETURN_IF_ERROR(Annotate(FromGrpc(stub->GetManifest(&context, get, &manifest)), where));
  auto plan = MakePlan(manifest, max_bytes_);
  if (!plan.ok()) return Annotate(plan.status(), where);
  HONE_RETURN_IF_ERROR(Annotate(CheckManifest(manifest, request, *plan), where));
  // A large model over a slow link takes its time; a transfer that is cut off begins anew, and would be cut off again.
  for (const WeightTensor& tensor : plan->tensors) {
    deadline += absl::Seconds(static_cast<double>(tensor.bytes.size()) / kSlowestBytesPerSecond);
  }
  HONE_RETURN_IF_ERROR(Annotate(ReadStream(stub.get(), request, deadline, &*plan), where));
  WeightVersion version = {.run = request.run,
                           .number = manifest.version().number(),
                           .parent = manifest.version().parent(),
                           .learner_epoch = manifest.version().learner_epoch(),
                           .root_hash = manifest.version().root_hash()};
  return std::make_shared<const WeightSnapshot>(std::move(version), std::move(plan->files), std::move(plan->tensors),
                                                std::move(plan->storage));
}

absl::Status GrpcWeightReceiver::Acknowledge(const Request& request, const std::string& member_id,
                                             const WeightSnapshot& snapshot) {
  grpc::ClientContext context;
  SetDeadline(context, request.timeout);
  v1::AcknowledgeVersionRequest acknowledge;
  acknowledge.set_run(request.run);
  acknowledge.set_version(request.version);
  acknowledge.set_member_id(member_id);
  acknowledge.set_content_hash(snapshot.content_hash());
  v1::AcknowledgeVersionResponse response;
  return FromGrpc(
      v1::WeightService::NewStub(ChannelTo(request.address))->AcknowledgeVersion(&context, acknowledge, &response));
}

}  // namespace hone
