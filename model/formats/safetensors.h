// Safetensors files (github.com/huggingface/safetensors, format 0.x): an 8-byte little-endian header length, a JSON
// header
// {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {...}}, then the tensors' bytes without holes.
//
// Reading maps the file and trusts nothing in it: a header that is too long, not JSON, nested too deep, that repeats a
// name or lets tensors overlap, leave holes, exceed the file or disagree with their shape is refused with
// INVALID_ARGUMENT naming the file and the tensor. Readers are immutable and thread-safe. Writers belong to one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/formats/dtype.h"

namespace hone::model {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// "[2, 3]"
std::string ShapeString(const std::vector<int64_t>& shape);

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // row-major; empty for a scalar
  int64_t element_count = 0;
  std::string_view bytes;  // into the mapped file; lives as long as the SafetensorsFile; any alignment
};

// INVALID_ARGUMENT, naming the tensor with what was expected and what came, where its shape is another.
absl::Status CheckTensorShape(const TensorInfo& tensor, const std::vector<int64_t>& expected_shape);
// Reads `tensor` (F32, F16 or BF16) as fp32 into out[element_count]. Fails as CheckTensorShape does, and where its
// dtype is another.
absl::Status ReadTensorAsF32(const TensorInfo& tensor, const std::vector<int64_t>& expected_shape, float* out);

class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  // Parses `contents` in place; `contents` must outlive the result. `name` stands for the path in messages.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Parse(std::string_view contents, const std::string& name);

  const std::string& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in file order (by offset, then name)
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorInfo* Find(std::string_view name) const;  // nullptr if absent
  // NOT_FOUND if there is no such tensor; else as ReadTensorAsF32.
  absl::Status ReadAsF32(std::string_view name, const std::vector<int64_t>& expected_shape, float* out) const;

 private:
  SafetensorsFile() = default;
  std::string path_;
  std::unique_ptr<MappedFile> file_;  // null after Parse
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// The weights of a Hugging Face model folder: model.safetensors, or the shards that model.safetensors.index.json lists.
class ShardedSafetensors {
 public:
  // NOT_FOUND where `directory` holds neither file; INVALID_ARGUMENT where index and shards disagree (a tensor that its
  // shard lacks, a tensor in two shards, a shard name with a path in it).
  static absl::StatusOr<std::unique_ptr<ShardedSafetensors>> Open(const std::string& directory);

  std::vector<std::string> names() const;  // of all tensors, sorted
  const TensorInfo* Find(std::string_view name) const;
  absl::Status ReadAsF32(std::string_view name, const std::vector<int64_t>& expected_shape, float* out) const;

 private:
  ShardedSafetensors() = default;
  std::string directory_;
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::map<std::string, const TensorInfo*, std::less<>> tensors_;
};

// What a writer is told before the data: the header is written first.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// Streams one safetensors file: Create with every tensor, Append them in that order, Finish. The file appears under its
// name only in Finish (written beside it as `path`.tmp, fsynced, renamed); an unfinished writer leaves nothing behind.
class SafetensorsWriter {
 public:
  using Metadata = std::map<std::string, std::string>;
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::string& path,
                                                                   std::vector<TensorSpec> tensors,
                                                                   const Metadata& metadata = {{"format", "pt"}});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The whole next tensor, which must be `name`, as raw little-endian bytes of its declared dtype.
  absl::Status Append(std::string_view name, std::string_view bytes);
  // The same from fp32 values, rounded to nearest even where the declared dtype is F16 or BF16.
  absl::Status AppendF32(std::string_view name, const float* values, size_t count);
  // FAILED_PRECONDITION if a declared tensor is missing.
  absl::Status Finish();

 private:
  friend class ShardedSafetensorsWriter;
  SafetensorsWriter(std::string path, int fd, std::vector<TensorSpec> tensors)
      : path_(std::move(path)), fd_(fd), tensors_(std::move(tensors)) {}
  absl::Status Write(const void* data, size_t size);
  absl::Status Seal();    // fsync and close the temporary file
  absl::Status Rename();  // give it its name

  std::string path_;
  int fd_ = -1;
  bool finished_ = false;
  std::vector<TensorSpec> tensors_;
  size_t next_ = 0;
};

// Writes a model folder's weights: one model.safetensors while everything fits in `max_shard_bytes`, else
// model-00001-of-0000N.safetensors and model.safetensors.index.json (written last). Tensors go to shards in the given
// order. Weights of the other layout that were in the folder are removed at Finish, so that no reader finds old ones.
class ShardedSafetensorsWriter {
 public:
  static absl::StatusOr<std::unique_ptr<ShardedSafetensorsWriter>> Create(const std::string& directory,
                                                                          std::vector<TensorSpec> tensors,
                                                                          uint64_t max_shard_bytes = 5'000'000'000);
  absl::Status Append(std::string_view name, std::string_view bytes);
  absl::Status AppendF32(std::string_view name, const float* values, size_t count);
  absl::Status Finish();

 private:
  ShardedSafetensorsWriter() = default;
  absl::StatusOr<SafetensorsWriter*> Current();

  std::string directory_;
  std::vector<std::vector<TensorSpec>> plan_;  // per shard
  std::vector<std::string> file_names_;
  std::vector<std::unique_ptr<SafetensorsWriter>> writers_;  // opened so far
  uint64_t total_bytes_ = 0;
};

}  // namespace hone::model
