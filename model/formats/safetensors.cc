#include "model/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "model/formats/json.h"

namespace hone::model {
namespace {

using nlohmann::json;

absl::Status TensorError(const std::string& path, const std::string& tensor, std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor.substr(0, 200), "': ", ToAbsl(message)));
}

// Two unsigned JSON integers [begin, end].
bool ReadOffsets(const json* value, uint64_t* begin, uint64_t* end) {
  if (value == nullptr || !value->is_array() || value->size() != 2) return false;
  if (!(*value)[0].is_number_unsigned() || !(*value)[1].is_number_unsigned()) return false;
  *begin = (*value)[0].get<uint64_t>();
  *end = (*value)[1].get<uint64_t>();
  return true;
}

absl::Status ReadShape(const json* value, size_t element_size, TensorInfo* tensor) {
  if (value == nullptr || !value->is_array()) return absl::InvalidArgumentError("expected an array 'shape'");
  uint64_t count = 1;
  // Bytes, not elements, must fit: everything that is later computed from a shape is then in range.
  const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / element_size;
  bool has_zero = false;
  for (const json& dimension : *value) {
    if (!dimension.is_number_unsigned()) return absl::InvalidArgumentError("a dimension is not a whole number >= 0");
    const uint64_t size = dimension.get<uint64_t>();
    if (size > limit) return absl::InvalidArgumentError(absl::StrCat("dimension ", size, " is too large"));
    tensor->shape.push_back(static_cast<int64_t>(size));
    if (size == 0) {
      has_zero = true;
    } else if (count > limit / size) {
      return absl::InvalidArgumentError("the product of 'shape' overflows");
    } else {
      count *= size;
    }
  }
  tensor->element_count = has_zero ? 0 : static_cast<int64_t>(count);
  return absl::OkStatus();
}

// One header entry; `data` is everything behind the header.
absl::Status ReadEntry(const json& entry, std::string_view data, TensorInfo* tensor) {
  if (!entry.is_object()) return absl::InvalidArgumentError("expected an object");
  const json* dtype = FindMember(entry, "dtype");
  if (dtype == nullptr || !dtype->is_string()) return absl::InvalidArgumentError("expected a string 'dtype'");
  HONE_ASSIGN_OR_RETURN(tensor->dtype, ParseDType(dtype->get_ref<const std::string&>()));
  const size_t element_size = DTypeSize(tensor->dtype);
  HONE_RETURN_IF_ERROR(ReadShape(FindMember(entry, "shape"), element_size, tensor));
  uint64_t begin = 0;
  uint64_t end = 0;
  if (!ReadOffsets(FindMember(entry, "data_offsets"), &begin, &end)) {
    return absl::InvalidArgumentError("expected 'data_offsets' to be two whole numbers");
  }
  if (begin > end || end > data.size()) {
    return absl::InvalidArgumentError(absl::StrCat("data_offsets [", begin, ", ", end, "] are not within the file's ",
                                                   data.size(), " bytes of data"));
  }
  const uint64_t expected = static_cast<uint64_t>(tensor->element_count) * element_size;
  if (end - begin != expected) {
    return absl::InvalidArgumentError(absl::StrCat("data_offsets span ", end - begin, " bytes, but ",
                                                   ToAbsl(DTypeName(tensor->dtype)), " ", ShapeString(tensor->shape),
                                                   " takes ", expected));
  }
  tensor->bytes = data.substr(begin, end - begin);
  return absl::OkStatus();
}

// Sorted by offset, the tensors must cover `data` without gap or overlap.
absl::Status CheckCoverage(const std::string& path, const std::vector<TensorInfo>& tensors, std::string_view data) {
  const char* position = data.data();
  for (const TensorInfo& tensor : tensors) {
    if (tensor.bytes.data() != position) {
      return TensorError(path, tensor.name,
                         tensor.bytes.data() < position ? "its data overlap another tensor's"
                                                        : "there is a hole in the file before its data");
    }
    position += tensor.bytes.size();
  }
  if (position != data.data() + data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", data.data() + data.size() - position, " bytes behind the last tensor belong to none"));
  }
  return absl::OkStatus();
}

absl::Status ReadMetadata(const std::string& path, const json& value, std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": '__metadata__' is not an object"));
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": '__metadata__' entry '", key.substr(0, 200), "' is not a string"));
    }
    (*metadata)[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

std::string ShapeString(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) absl::StrAppend(&text, i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

absl::Status CheckTensorShape(const TensorInfo& tensor, const std::vector<int64_t>& expected_shape) {
  if (tensor.shape == expected_shape) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "': expected shape ",
                                                 ShapeString(expected_shape), ", found ", ShapeString(tensor.shape)));
}

absl::Status ReadTensorAsF32(const TensorInfo& tensor, const std::vector<int64_t>& expected_shape, float* out) {
  HONE_RETURN_IF_ERROR(CheckTensorShape(tensor, expected_shape));
  return Annotate(ConvertToF32(tensor.dtype, reinterpret_cast<const uint8_t*>(tensor.bytes.data()),
                               static_cast<size_t>(tensor.element_count), out),
                  absl::StrCat("tensor '", tensor.name, "'"));
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  HONE_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  HONE_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> result, Parse(file->view(), path));
  result->file_ = std::move(file);
  return result;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Parse(std::string_view contents,
                                                                        const std::string& name) {
  uint64_t header_size = 0;
  if (contents.size() < sizeof(header_size)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": expected a safetensors file, which starts with 8 bytes of length, found ", contents.size(), " bytes"));
  }
  std::memcpy(&header_size, contents.data(), sizeof(header_size));
  contents.remove_prefix(sizeof(header_size));
  if (header_size > kMaxSafetensorsHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": header of ", header_size, " bytes is over the limit of ",
                                                   kMaxSafetensorsHeaderBytes, "; is this a safetensors file?"));
  }
  if (header_size > contents.size()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": truncated: a header of ", header_size,
                                                   " bytes is announced, ", contents.size(), " follow"));
  }
  HONE_ASSIGN_OR_RETURN(const json header, ParseJson(contents.substr(0, header_size),
                                                     absl::StrCat(name, ": safetensors header"), {.max_depth = 4}));
  if (!header.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": the safetensors header is not a JSON object"));
  }
  contents.remove_prefix(header_size);

  auto result = std::unique_ptr<SafetensorsFile>(new SafetensorsFile());
  result->path_ = name;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      HONE_RETURN_IF_ERROR(ReadMetadata(name, entry, &result->metadata_));
      continue;
    }
    TensorInfo tensor;
    tensor.name = key;
    if (absl::Status status = ReadEntry(entry, contents, &tensor); !status.ok()) {
      return TensorError(name, key, FromAbsl(status.message()));
    }
    result->tensors_.push_back(std::move(tensor));
  }
  // An empty tensor shares its offset with its neighbour and goes first.
  std::stable_sort(result->tensors_.begin(), result->tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  HONE_RETURN_IF_ERROR(CheckCoverage(name, result->tensors_, contents));
  for (size_t i = 0; i < result->tensors_.size(); ++i) result->index_[result->tensors_[i].name] = i;
  return result;
}

const TensorInfo* SafetensorsFile::Find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

absl::Status SafetensorsFile::ReadAsF32(std::string_view name, const std::vector<int64_t>& expected_shape,
                                        float* out) const {
  const TensorInfo* tensor = Find(name);
  if (tensor == nullptr) return absl::NotFoundError(absl::StrCat(path_, ": no tensor '", ToAbsl(name), "'"));
  return Annotate(ReadTensorAsF32(*tensor, expected_shape, out), path_);
}

namespace {

constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";

// tensor name -> shard file name
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxModelJsonBytes));
  HONE_ASSIGN_OR_RETURN(const json index, ParseJson(text, path));
  const json* weight_map = FindMember(index, "weight_map");
  if (weight_map == nullptr || !weight_map->is_object() || weight_map->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected an object 'weight_map' with tensors"));
  }
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : weight_map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
        name.find(".safetensors") == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": 'weight_map' entry '", tensor.substr(0, 200),
                                                     "' must name a .safetensors file in the same folder, found '",
                                                     name.substr(0, 200), "'"));
    }
    result[tensor] = name;
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardedSafetensors>> ShardedSafetensors::Open(const std::string& directory) {
  auto result = std::unique_ptr<ShardedSafetensors>(new ShardedSafetensors());
  result->directory_ = directory;
  const std::string single = JoinPath(directory, kSingleName);
  const std::string index_path = JoinPath(directory, kIndexName);
  if (FileExists(single)) {
    HONE_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(single));
    for (const TensorInfo& tensor : file->tensors()) result->tensors_[tensor.name] = &tensor;
    result->shards_.push_back(std::move(file));
    return result;
  }
  if (!FileExists(index_path)) {
    return absl::NotFoundError(
        absl::StrCat(directory, ": expected model.safetensors or ", ToAbsl(kIndexName), ", found neither"));
  }
  using Index = std::map<std::string, std::string>;
  HONE_ASSIGN_OR_RETURN(const Index index, ReadIndex(index_path));
  std::set<std::string> files;
  for (const auto& [tensor, file] : index) files.insert(file);
  for (const std::string& name : files) {
    HONE_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> shard, SafetensorsFile::Open(JoinPath(directory, name)));
    for (const TensorInfo& tensor : shard->tensors()) {
      const auto it = index.find(tensor.name);
      if (it == index.end() || it->second != name) {
        return TensorError(shard->path(), tensor.name,
                           it == index.end() ? "the index does not list it"
                                             : absl::StrCat("the index says that it is in '", it->second, "'"));
      }
      result->tensors_[tensor.name] = &tensor;
    }
    result->shards_.push_back(std::move(shard));
  }
  for (const auto& [tensor, file] : index) {
    if (!result->tensors_.contains(tensor)) {
      return TensorError(JoinPath(directory, file), tensor, "the index lists it, the file lacks it");
    }
  }
  return result;
}

std::vector<std::string> ShardedSafetensors::names() const {
  std::vector<std::string> result;
  result.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) result.push_back(name);
  return result;
}

const TensorInfo* ShardedSafetensors::Find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : it->second;
}

absl::Status ShardedSafetensors::ReadAsF32(std::string_view name, const std::vector<int64_t>& expected_shape,
                                           float* out) const {
  const TensorInfo* tensor = Find(name);
  if (tensor == nullptr) return absl::NotFoundError(absl::StrCat(directory_, ": no tensor '", ToAbsl(name), "'"));
  return Annotate(ReadTensorAsF32(*tensor, expected_shape, out), directory_);
}

}  // namespace hone::model
