#include "weight_sync/weight_server.h"

#include <grpcpp/support/status.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hone/v1/learner.grpc.pb.h"

namespace hone {

class WeightServer::Service final : public v1::WeightService::Service {
 public:
  grpc::Status GetManifest(grpc::ServerContext*, const v1::GetManifestRequest* request,
                           v1::WeightManifest* manifest) override {
    std::shared_ptr<const WeightSnapshot> snapshot;
    if (grpc::Status status = Find(request->run(), request->version(), &snapshot); !status.ok()) return status;
    v1::PolicyVersion* version = manifest->mutable_version();
    version->set_number(snapshot->version().number);
    version->set_parent(snapshot->version().parent);
    version->set_learner_epoch(snapshot->version().learner_epoch);
    version->set_root_hash(snapshot->version().root_hash);
    for (const WeightTensor& tensor : snapshot->tensors()) {
      v1::TensorEntry* entry = manifest->add_tensors();
      entry->set_name(tensor.name);
      for (const int64_t dimension : tensor.shape) entry->add_shape(dimension);
      entry->set_dtype(tensor.dtype == kernels::DType::kBf16 ? v1::DTYPE_BF16 : v1::DTYPE_FP32);
      entry->set_size_bytes(tensor.bytes.size());
      entry->set_sha256(tensor.sha256);
    }
    for (const auto& [name, contents] : snapshot->model_files()) {
      v1::ModelFile* file = manifest->add_model_files();
      file->set_name(name);
      file->set_contents(contents);
    }
    manifest->set_model_files_sha256(snapshot->model_files_hash());
    manifest->set_content_hash(snapshot->content_hash());
    return grpc::Status::OK;
  }

  grpc::Status FetchWeights(grpc::ServerContext* context, const v1::FetchWeightsRequest* request,
                            grpc::ServerWriter<v1::WeightChunk>* writer) override {
    std::shared_ptr<const WeightSnapshot> snapshot;
    if (grpc::Status status = Find(request->run(), request->version(), &snapshot); !status.ok()) return status;
    v1::WeightChunk chunk;
    for (size_t i = 0; i < snapshot->tensors().size(); ++i) {
      const std::span<const std::byte> bytes = snapshot->tensors()[i].bytes;
      for (size_t offset = 0; offset < bytes.size(); offset += kMaxWeightChunkBytes) {
        if (context->IsCancelled()) return grpc::Status(grpc::StatusCode::CANCELLED, "the receiver gave up");
        if (!Keeps(*snapshot)) {
          return grpc::Status(grpc::StatusCode::ABORTED,
                              absl::StrCat("version ", request->version(), " of run '", request->run(),
                                           "' was replaced while it was sent: begin anew"));
        }
        const size_t size = std::min(kMaxWeightChunkBytes, bytes.size() - offset);
        chunk.set_tensor_index(static_cast<int32_t>(i));
        chunk.set_offset_bytes(offset);
        chunk.set_data(bytes.data() + offset, size);
        if (!writer->Write(chunk)) return grpc::Status(grpc::StatusCode::CANCELLED, "the receiver gave up");
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status AcknowledgeVersion(grpc::ServerContext*, const v1::AcknowledgeVersionRequest* request,
                                  v1::AcknowledgeVersionResponse*) override {
    std::shared_ptr<const WeightSnapshot> snapshot;
    if (grpc::Status status = Find(request->run(), request->version(), &snapshot); !status.ok()) return status;
    if (request->content_hash() != snapshot->content_hash()) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          absl::StrCat("version ", request->version(), ": expected content hash ",
                                       snapshot->content_hash(), ", got ", request->content_hash()));
    }
    std::lock_guard lock(mutex_);
    if (!kept_.empty() && kept_.back() == snapshot) holders_.insert(request->member_id());
    return grpc::Status::OK;
  }

  void Publish(std::shared_ptr<const WeightSnapshot> snapshot, int keep) {
    std::vector<std::shared_ptr<const WeightSnapshot>> gone;  // freed without the lock
    std::lock_guard lock(mutex_);
    const WeightVersion& version = snapshot->version();
    std::erase_if(kept_, [&](auto& other) {
      if (other->version().run == version.run && other->version().number < version.number) return false;
      gone.push_back(std::move(other));
      return true;
    });
    kept_.push_back(std::move(snapshot));
    while (static_cast<int>(kept_.size()) > keep) {
      gone.push_back(std::move(kept_.front()));
      kept_.erase(kept_.begin());
    }
    holders_.clear();
  }

  int acknowledgements() const {
    std::lock_guard lock(mutex_);
    return static_cast<int>(holders_.size());
  }

 private:
  bool Keeps(const WeightSnapshot& snapshot) const {
    std::lock_guard lock(mutex_);
    return std::any_of(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.get() == &snapshot; });
  }

  grpc::Status Find(const std::string& run, int64_t version, std::shared_ptr<const WeightSnapshot>* snapshot) const {
    std::lock_guard lock(mutex_);
    std::string held;
    for (const auto& kept : kept_) {
      if (kept->version().run == run && kept->version().number == version) {
        *snapshot = kept;
        return grpc::Status::OK;
      }
      absl::StrAppend(&held, held.empty() ? "" : ", ", "version ", kept->version().number, " of run '",
                      kept->version().run, "'");
    }
    if (held.empty()) held = "nothing";
    return grpc::Status(grpc::StatusCode::NOT_FOUND,
                        absl::StrCat("version ", version, " of run '", run, "' is not served here, but ", held));
  }

  mutable std::mutex mutex_;                                 // guards what follows
  std::vector<std::shared_ptr<const WeightSnapshot>> kept_;  // of one run, by rising number
  std::set<std::string> holders_;                            // of the newest
};

WeightServer::WeightServer() : service_(std::make_unique<Service>()) {}
WeightServer::~WeightServer() = default;
grpc::Service* WeightServer::service() { return service_.get(); }
void WeightServer::Publish(std::shared_ptr<const WeightSnapshot> snapshot, int keep) {
  service_->Publish(std::move(snapshot), keep);
}
int WeightServer::acknowledgements() const { return service_->acknowledgements(); }

}  // namespace hone
