// GGUF files (versions 2 and 3, little-endian). Importing one as a model folder: gguf_import.h.
//
// Parsing maps the file and trusts nothing in it: every length, count, type and offset is checked against the file
// before memory is asked for, and a violation is INVALID_ARGUMENT naming the file and the key or tensor. A tensor's
// elements are never more than a few for each byte of the file, whatever its type. Immutable and thread-safe after
// Open.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/formats/dtype.h"

namespace hone::model {

// The tensor types that can be dequantised, with GGML's numbers.
enum class GgmlType : uint32_t { kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ8_0 = 8, kBF16 = 30 };

// GGML's name of a type ("Q4_K"), read here or not; "unknown" for a number that GGML does not use.
std::string_view GgmlTypeName(uint32_t type);

// A metadata value. Integers of every width are widened; arrays keep one kind of element.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, std::vector<uint64_t>,
                               std::vector<int64_t>, std::vector<double>, std::vector<std::string_view>>;

struct GgufTensor {
  std::string name;
  uint32_t type = 0;           // GGML's number, perhaps of a type that is not read
  std::vector<int64_t> shape;  // row-major, outermost first (GGUF stores the reverse)
  int64_t element_count = 0;
  uint64_t offset = 0;     // of its data in the file
  std::string_view bytes;  // into the mapped file
};

class GgufFile {
 public:
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);
  // Parses `contents` in place; `contents` must outlive the result. `name` stands for the path in messages.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Parse(std::string_view contents, const std::string& name);

  const std::string& path() const { return path_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* FindTensor(std::string_view name) const;  // nullptr if absent
  bool Has(std::string_view key) const;

  // Metadata by key; NOT_FOUND or INVALID_ARGUMENT (another type, out of range) naming the key. Views live as long as
  // this.
  absl::StatusOr<int64_t> GetInt(std::string_view key) const;
  absl::StatusOr<double> GetFloat(std::string_view key) const;
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  absl::StatusOr<const std::vector<std::string_view>*> GetStrings(std::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> GetInts(std::string_view key) const;

  // INVALID_ARGUMENT naming tensor and type where the type is not in GgmlType.
  absl::Status CheckReadable(const GgufTensor& tensor) const;
  // Dequantises into out[element_count]; fails as CheckReadable does.
  absl::Status ReadAsF32(const GgufTensor& tensor, float* out) const;

 private:
  friend class GgufParser;
  GgufFile() = default;
  absl::StatusOr<const GgufValue*> Get(std::string_view key) const;

  std::string path_;
  std::unique_ptr<MappedFile> file_;  // null after Parse
  std::unordered_map<std::string_view, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace hone::model
