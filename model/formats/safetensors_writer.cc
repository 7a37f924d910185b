#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "model/formats/json.h"
#include "model/formats/safetensors.h"

namespace hone::model {
namespace {

using nlohmann::json;

std::string TemporaryPath(const std::string& path) { return path + ".tmp"; }

absl::StatusOr<uint64_t> TensorBytes(const TensorSpec& tensor) {
  uint64_t bytes = DTypeSize(tensor.dtype);
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0 || (dimension > 0 && bytes > std::numeric_limits<uint64_t>::max() / 2 / dimension)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", tensor.name, "': impossible shape ", ShapeString(tensor.shape)));
    }
    bytes *= static_cast<uint64_t>(dimension);
  }
  return bytes;
}

absl::StatusOr<std::string> BuildHeader(const std::vector<TensorSpec>& tensors,
                                        const SafetensorsWriter::Metadata& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    if (tensor.name == "__metadata__" || header.contains(tensor.name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", tensor.name, "' is declared twice or has a reserved name"));
    }
    HONE_ASSIGN_OR_RETURN(const uint64_t bytes, TensorBytes(tensor));
    header[tensor.name] = {{"dtype", std::string(DTypeName(tensor.dtype))},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = DumpJson(header, -1);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data are aligned to 8 bytes
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(const std::string& path,
                                                                             std::vector<TensorSpec> tensors,
                                                                             const Metadata& metadata) {
  auto header = BuildHeader(tensors, metadata);
  if (!header.ok()) return Annotate(header.status(), path);
  const std::string temporary = TemporaryPath(path);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot create ", temporary));
  auto writer = std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter(path, fd, std::move(tensors)));
  const uint64_t size = header->size();
  HONE_RETURN_IF_ERROR(writer->Write(&size, sizeof(size)));
  HONE_RETURN_IF_ERROR(writer->Write(header->data(), header->size()));
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!finished_) ::unlink(TemporaryPath(path_).c_str());
}

absl::Status SafetensorsWriter::Write(const void* data, size_t size) {
  if (fd_ < 0) return absl::FailedPreconditionError(absl::StrCat(path_, ": the writer is closed"));
  const char* position = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd_, position, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, absl::StrCat("cannot write ", TemporaryPath(path_)));
    }
    position += written;
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Append(std::string_view name, std::string_view bytes) {
  if (next_ >= tensors_.size() || tensors_[next_].name != name) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": expected tensor ",
                                                      next_ < tensors_.size() ? tensors_[next_].name : "<none>",
                                                      " next, was given '", ToAbsl(name), "'"));
  }
  HONE_ASSIGN_OR_RETURN(const uint64_t expected, TensorBytes(tensors_[next_]));
  if (bytes.size() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": tensor '", ToAbsl(name), "' takes ", expected, " bytes, was given ", bytes.size()));
  }
  HONE_RETURN_IF_ERROR(Write(bytes.data(), bytes.size()));
  ++next_;
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::AppendF32(std::string_view name, const float* values, size_t count) {
  const DType dtype = next_ < tensors_.size() ? tensors_[next_].dtype : DType::kF32;
  if (dtype == DType::kF32) return Append(name, {reinterpret_cast<const char*>(values), count * sizeof(float)});
  std::string bytes(count * DTypeSize(dtype), '\0');
  if (absl::Status status = ConvertFromF32(dtype, values, count, reinterpret_cast<uint8_t*>(bytes.data()));
      !status.ok()) {
    return Annotate(status, absl::StrCat(path_, ": tensor '", ToAbsl(name), "'"));
  }
  return Append(name, bytes);
}

absl::Status SafetensorsWriter::Seal() {
  if (next_ != tensors_.size()) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": tensor '", tensors_[next_].name, "' was never given (",
                                                      next_, " of ", tensors_.size(), " written)"));
  }
  if (::fsync(fd_) != 0) return ErrnoStatus(errno, absl::StrCat("cannot sync ", TemporaryPath(path_)));
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) return ErrnoStatus(errno, absl::StrCat("cannot close ", TemporaryPath(path_)));
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Rename() {
  HONE_RETURN_IF_ERROR(RenamePath(TemporaryPath(path_), path_));
  finished_ = true;
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  if (fd_ < 0) return absl::FailedPreconditionError(absl::StrCat(path_, ": the writer is closed"));
  HONE_RETURN_IF_ERROR(Seal());
  return Rename();
}

absl::StatusOr<std::unique_ptr<ShardedSafetensorsWriter>> ShardedSafetensorsWriter::Create(
    const std::string& directory, std::vector<TensorSpec> tensors, uint64_t max_shard_bytes) {
  HONE_RETURN_IF_ERROR(CreateDirectories(directory));
  auto writer = std::unique_ptr<ShardedSafetensorsWriter>(new ShardedSafetensorsWriter());
  writer->directory_ = directory;
  writer->plan_.emplace_back();
  std::set<std::string> seen;
  uint64_t shard_bytes = 0;
  for (TensorSpec& tensor : tensors) {
    if (!seen.insert(tensor.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(directory, ": tensor '", tensor.name, "' is declared twice"));
    }
    HONE_ASSIGN_OR_RETURN(const uint64_t bytes, TensorBytes(tensor));
    if (!writer->plan_.back().empty() && bytes > max_shard_bytes - std::min(shard_bytes, max_shard_bytes)) {
      writer->plan_.emplace_back();
      shard_bytes = 0;
    }
    shard_bytes += bytes;
    writer->total_bytes_ += bytes;
    writer->plan_.back().push_back(std::move(tensor));
  }
  const size_t count = writer->plan_.size();
  for (size_t i = 0; i < count; ++i) {
    writer->file_names_.push_back(count == 1 ? "model.safetensors"
                                             : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, count));
  }
  HONE_RETURN_IF_ERROR(writer->Current().status());  // a folder that cannot be written to is found out now
  return writer;
}

absl::StatusOr<SafetensorsWriter*> ShardedSafetensorsWriter::Current() {
  if (writers_.empty() ||
      (writers_.back()->next_ == plan_[writers_.size() - 1].size() && writers_.size() < plan_.size())) {
    const size_t shard = writers_.size();
    HONE_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsWriter> writer,
                          SafetensorsWriter::Create(JoinPath(directory_, file_names_[shard]), plan_[shard]));
    writers_.push_back(std::move(writer));
  }
  return writers_.back().get();
}

absl::Status ShardedSafetensorsWriter::Append(std::string_view name, std::string_view bytes) {
  HONE_ASSIGN_OR_RETURN(SafetensorsWriter * writer, Current());
  return writer->Append(name, bytes);
}

absl::Status ShardedSafetensorsWriter::AppendF32(std::string_view name, const float* values, size_t count) {
  HONE_ASSIGN_OR_RETURN(SafetensorsWriter * writer, Current());
  return writer->AppendF32(name, values, count);
}

absl::Status ShardedSafetensorsWriter::Finish() {
  if (writers_.size() != plan_.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory_, ": tensor '", plan_[writers_.size()].front().name, "' was never given"));
  }
  for (const auto& writer : writers_) HONE_RETURN_IF_ERROR(writer->Seal());
  for (const auto& writer : writers_) HONE_RETURN_IF_ERROR(writer->Rename());
  const std::string index_name = "model.safetensors.index.json";
  std::set<std::string> current(file_names_.begin(), file_names_.end());
  if (plan_.size() > 1) {
    json weight_map = json::object();
    for (size_t i = 0; i < plan_.size(); ++i) {
      for (const TensorSpec& tensor : plan_[i]) weight_map[tensor.name] = file_names_[i];
    }
    const json index = {{"metadata", {{"total_size", total_bytes_}}}, {"weight_map", weight_map}};
    HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(directory_, index_name), DumpJson(index) + "\n"));
    current.insert(index_name);
  }
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory_));
  for (const std::string& name : names) {
    const bool weights = name == index_name || name == "model.safetensors" ||
                         (name.starts_with("model-") && name.ends_with(".safetensors"));
    if (weights && !current.contains(name)) HONE_RETURN_IF_ERROR(RemoveTree(JoinPath(directory_, name)));
  }
  return SyncPath(directory_);
}

}  // namespace hone::model
