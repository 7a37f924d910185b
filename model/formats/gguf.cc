#include "model/formats/gguf.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/strings.h"

namespace hone::model {
namespace {

// Types of metadata values, with the format's numbers.
enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr int64_t kBlockElements = 32;  // of every quantised type that is read here

// Every type of GGML with its number and the bytes of a block of elements: what cannot be read is still measured
// against the file, and told by its name.
struct TypeTraits {
  uint32_t number;
  std::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
};
constexpr auto kTypes = std::to_array<TypeTraits>(
    {{0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
     {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},
     {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
     {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
     {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
     {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
     {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
     {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
     {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18}});

const TypeTraits* FindType(uint32_t number) {
  for (const TypeTraits& traits : kTypes) {
    if (traits.number == number) return &traits;
  }
  return nullptr;
}

bool IsReadable(uint32_t type) {
  switch (static_cast<GgmlType>(type)) {
    case GgmlType::kF32:
    case GgmlType::kF16:
    case GgmlType::kQ4_0:
    case GgmlType::kQ4_1:
    case GgmlType::kQ5_0:
    case GgmlType::kQ8_0:
    case GgmlType::kBF16:
      return true;
  }
  return false;
}

std::string Shorten(std::string_view text) {
  std::string result(text.substr(0, 200));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return result;
}

float HalfAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return F16ToF32(bits);
}

// One block of 32 elements each; the layouts are those of GGML's block_q4_0 and so on.
void DequantizeQ4_0(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((block[2 + i] & 0x0f) - 8);
    out[i + 16] = scale * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

void DequantizeQ4_1(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  const float minimum = HalfAt(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(block[4 + i] & 0x0f) + minimum;
    out[i + 16] = scale * static_cast<float>(block[4 + i] >> 4) + minimum;
  }
}

void DequantizeQ5_0(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  uint32_t high;  // the fifth bit of each element
  std::memcpy(&high, block + 2, sizeof(high));
  for (int i = 0; i < 16; ++i) {
    const int low_bits = block[6 + i] & 0x0f;
    const int high_bits = block[6 + i] >> 4;
    out[i] = scale * static_cast<float>((low_bits | static_cast<int>((high >> i) & 1) << 4) - 16);
    out[i + 16] = scale * static_cast<float>((high_bits | static_cast<int>((high >> (i + 16)) & 1) << 4) - 16);
  }
}

void DequantizeQ8_0(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

}  // namespace

// Walks the file once, front to back; every read checks what is left.
class GgufParser {
 public:
  GgufParser(std::string_view contents, GgufFile* file) : contents_(contents), file_(file) {}

  absl::Status Run() {
    HONE_RETURN_IF_ERROR(ReadHeader());
    for (uint64_t i = 0; i < value_count_; ++i) HONE_RETURN_IF_ERROR(ReadEntry());
    for (uint64_t i = 0; i < tensor_count_; ++i) HONE_RETURN_IF_ERROR(ReadTensorInfo());
    return PlaceTensors();
  }

 private:
  size_t left() const { return contents_.size() - position_; }

  absl::Status Error(std::string_view message) const {
    return absl::InvalidArgumentError(
        absl::StrCat(file_->path_, ": ", ToAbsl(message), where_.empty() ? "" : absl::StrCat(" (", where_, ")")));
  }
  absl::Status Truncated(std::string_view what) const {
    return Error(absl::StrCat("truncated: ", ToAbsl(what), " at byte ", position_, " goes beyond the end"));
  }

  template <typename T>
  absl::StatusOr<T> Read(std::string_view what) {
    if (left() < sizeof(T)) return Truncated(what);
    T value;
    std::memcpy(&value, contents_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  absl::StatusOr<std::string_view> ReadString(std::string_view what) {
    HONE_ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>(what));
    if (size > left()) return Truncated(what);
    const std::string_view text = contents_.substr(position_, size);
    position_ += size;
    return text;
  }

  absl::Status ReadHeader() {
    if (!contents_.starts_with("GGUF")) return Error("expected a GGUF file, which starts with 'GGUF'");
    position_ = 4;
    HONE_ASSIGN_OR_RETURN(const uint32_t version, Read<uint32_t>("version"));
    if (version != 2 && version != 3) return Error(absl::StrCat("expected GGUF version 2 or 3, found ", version));
    HONE_ASSIGN_OR_RETURN(tensor_count_, Read<uint64_t>("tensor count"));
    HONE_ASSIGN_OR_RETURN(value_count_, Read<uint64_t>("metadata count"));
    // The least that one of each takes: lengths, type, and nothing else.
    if (value_count_ > left() / 13 || tensor_count_ > left() / 24) {
      return Error(absl::StrCat("truncated: ", value_count_, " metadata values and ", tensor_count_,
                                " tensors are announced, which need more than the file's ", contents_.size(),
                                " bytes"));
    }
    return absl::OkStatus();
  }

  template <typename T, typename Wide>
  absl::StatusOr<GgufValue> ReadNumbers(uint64_t count, bool array) {
    if (!array) {
      HONE_ASSIGN_OR_RETURN(const T value, Read<T>("value"));
      return GgufValue(static_cast<Wide>(value));
    }
    if (count > left() / sizeof(T)) return Truncated("array");
    std::vector<Wide> values(count);
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): bytes of int8 arrays keep their sign
    for (Wide& value : values) value = static_cast<Wide>(*Read<T>("array"));
    return GgufValue(std::move(values));
  }

  absl::StatusOr<GgufValue> ReadStrings(uint64_t count) {
    if (count > left() / sizeof(uint64_t)) return Truncated("array");
    std::vector<std::string_view> values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      HONE_ASSIGN_OR_RETURN(const std::string_view value, ReadString("array"));
      values.push_back(value);
    }
    return GgufValue(std::move(values));
  }

  absl::StatusOr<GgufValue> ReadValue(uint32_t type, uint64_t count, bool array) {
    switch (static_cast<ValueType>(type)) {
      case ValueType::kUint8:
        return ReadNumbers<uint8_t, uint64_t>(count, array);
      case ValueType::kUint16:
        return ReadNumbers<uint16_t, uint64_t>(count, array);
      case ValueType::kUint32:
        return ReadNumbers<uint32_t, uint64_t>(count, array);
      case ValueType::kUint64:
        return ReadNumbers<uint64_t, uint64_t>(count, array);
      case ValueType::kInt8:
        return ReadNumbers<int8_t, int64_t>(count, array);
      case ValueType::kInt16:
        return ReadNumbers<int16_t, int64_t>(count, array);
      case ValueType::kInt32:
        return ReadNumbers<int32_t, int64_t>(count, array);
      case ValueType::kInt64:
        return ReadNumbers<int64_t, int64_t>(count, array);
      case ValueType::kFloat32:
        return ReadNumbers<float, double>(count, array);
      case ValueType::kFloat64:
        return ReadNumbers<double, double>(count, array);
      case ValueType::kBool: {
        if (array) return ReadNumbers<uint8_t, uint64_t>(count, true);
        HONE_ASSIGN_OR_RETURN(const uint8_t value, Read<uint8_t>("value"));
        if (value > 1) return Error(absl::StrCat("a bool holds ", value));
        return GgufValue(value == 1);
      }
      case ValueType::kString: {
        if (array) return ReadStrings(count);
        HONE_ASSIGN_OR_RETURN(const std::string_view value, ReadString("value"));
        return GgufValue(value);
      }
      case ValueType::kArray: {
        if (array) return Error("arrays of arrays are not supported");
        HONE_ASSIGN_OR_RETURN(const uint32_t element_type, Read<uint32_t>("array type"));
        HONE_ASSIGN_OR_RETURN(const uint64_t element_count, Read<uint64_t>("array size"));
        return ReadValue(element_type, element_count, true);
      }
    }
    return Error(absl::StrCat("unknown value type ", type));
  }

  absl::Status ReadEntry() {
    where_.clear();
    HONE_ASSIGN_OR_RETURN(const std::string_view key, ReadString("metadata key"));
    where_ = absl::StrCat("metadata key '", Shorten(key), "'");
    HONE_ASSIGN_OR_RETURN(const uint32_t type, Read<uint32_t>("value type"));
    HONE_ASSIGN_OR_RETURN(GgufValue value, ReadValue(type, 0, false));
    if (!file_->metadata_.emplace(key, std::move(value)).second) return Error("the key appears twice");
    where_.clear();
    return absl::OkStatus();
  }

  absl::Status ReadTensorInfo() {
    where_.clear();
    HONE_ASSIGN_OR_RETURN(const std::string_view name, ReadString("tensor name"));
    where_ = absl::StrCat("tensor '", Shorten(name), "'");
    GgufTensor tensor;
    tensor.name = std::string(name);
    HONE_ASSIGN_OR_RETURN(const uint32_t dimensions, Read<uint32_t>("number of dimensions"));
    if (dimensions > kMaxDimensions) return Error(absl::StrCat(dimensions, " dimensions, at most 4 are possible"));
    uint64_t count = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      HONE_ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>("dimension"));
      // 2^60: bytes and blocks computed from it stay within 64 bits
      if (size == 0 || size > (1ull << 60) / count) return Error(absl::StrCat("impossible dimension ", size));
      count *= size;
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    tensor.element_count = static_cast<int64_t>(count);
    HONE_ASSIGN_OR_RETURN(tensor.type, Read<uint32_t>("tensor type"));
    HONE_ASSIGN_OR_RETURN(tensor.offset, Read<uint64_t>("tensor offset"));
    if (!file_->index_.emplace(tensor.name, file_->tensors_.size()).second) return Error("the name appears twice");
    file_->tensors_.push_back(std::move(tensor));
    where_.clear();
    return absl::OkStatus();
  }

  // Offsets count from the first aligned byte behind the tensor infos.
  absl::Status PlaceTensors() {
    uint64_t alignment = 32;
    if (file_->Has("general.alignment")) {
      HONE_ASSIGN_OR_RETURN(const int64_t value, file_->GetInt("general.alignment"));
      alignment = static_cast<uint64_t>(value);
      if (value <= 0 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0) {
        return Error(absl::StrCat("general.alignment ", value, " is not a power of two up to ", kMaxAlignment));
      }
    }
    const uint64_t start = (position_ + alignment - 1) / alignment * alignment;
    std::vector<const GgufTensor*> placed;
    for (GgufTensor& tensor : file_->tensors_) {
      where_ = absl::StrCat("tensor '", Shorten(tensor.name), "'");
      if (tensor.offset % alignment != 0) {
        return Error(absl::StrCat("offset ", tensor.offset, " is not a multiple of ", alignment));
      }
      if (start > contents_.size() || tensor.offset > contents_.size() - start) {
        return Error(absl::StrCat("offset ", tensor.offset, " is beyond the end of the file"));
      }
      tensor.offset += start;
      const TypeTraits* traits = FindType(tensor.type);
      if (traits == nullptr) return Error(absl::StrCat("unknown GGML type ", tensor.type));
      const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
      if (row % traits->block_elements != 0) {
        return Error(absl::StrCat("rows of ", row, " elements are not whole blocks of ", traits->block_elements));
      }
      const uint64_t bytes = static_cast<uint64_t>(tensor.element_count / traits->block_elements * traits->block_bytes);
      if (bytes > contents_.size() - tensor.offset) {
        return Error(
            absl::StrCat("its ", bytes, " bytes at ", tensor.offset, " go beyond the file's ", contents_.size()));
      }
      tensor.bytes = contents_.substr(tensor.offset, bytes);
      placed.push_back(&tensor);
    }
    where_.clear();
    std::sort(placed.begin(), placed.end(),
              [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < placed.size(); ++i) {
      if (placed[i - 1]->offset + placed[i - 1]->bytes.size() > placed[i]->offset) {
        return Error(
            absl::StrCat("tensors '", Shorten(placed[i - 1]->name), "' and '", Shorten(placed[i]->name), "' overlap"));
      }
    }
    return absl::OkStatus();
  }

  std::string_view contents_;
  GgufFile* file_;
  size_t position_ = 0;
  std::string where_;  // what is being read, for messages
  uint64_t tensor_count_ = 0;
  uint64_t value_count_ = 0;
};

std::string_view GgmlTypeName(uint32_t type) {
  const TypeTraits* traits = FindType(type);
  return traits == nullptr ? "unknown" : traits->name;
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  HONE_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  HONE_ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> result, Parse(file->view(), path));
  result->file_ = std::move(file);
  return result;
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Parse(std::string_view contents, const std::string& name) {
  auto result = std::unique_ptr<GgufFile>(new GgufFile());
  result->path_ = name;
  HONE_RETURN_IF_ERROR(GgufParser(contents, result.get()).Run());
  return result;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

bool GgufFile::Has(std::string_view key) const { return metadata_.contains(key); }

absl::StatusOr<const GgufValue*> GgufFile::Get(std::string_view key) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end()) return absl::NotFoundError(absl::StrCat(path_, ": no metadata key '", ToAbsl(key), "'"));
  return &it->second;
}

namespace {

absl::Status WrongType(const std::string& path, std::string_view key, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": metadata key '", ToAbsl(key), "': expected ",
                                                 ToAbsl(expected), ", found another type or range"));
}

}  // namespace

absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key) const {
  HONE_ASSIGN_OR_RETURN(const GgufValue* value, Get(key));
  if (const auto* number = std::get_if<int64_t>(value)) return *number;
  const auto* number = std::get_if<uint64_t>(value);
  if (number != nullptr && *number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return static_cast<int64_t>(*number);
  }
  return WrongType(path_, key, "a whole number");
}

absl::StatusOr<double> GgufFile::GetFloat(std::string_view key) const {
  HONE_ASSIGN_OR_RETURN(const GgufValue* value, Get(key));
  if (const auto* number = std::get_if<double>(value)) return *number;
  return WrongType(path_, key, "a floating-point number");
}

absl::StatusOr<std::string_view> GgufFile::GetString(std::string_view key) const {
  HONE_ASSIGN_OR_RETURN(const GgufValue* value, Get(key));
  if (const auto* text = std::get_if<std::string_view>(value)) return *text;
  return WrongType(path_, key, "a string");
}

absl::StatusOr<bool> GgufFile::GetBool(std::string_view key) const {
  HONE_ASSIGN_OR_RETURN(const GgufValue* value, Get(key));
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  return WrongType(path_, key, "a bool");
}

absl::StatusOr<const std::vector<std::string_view>*> GgufFile::GetStrings(std::string_view key) const {
  HONE_ASSIGN_OR_RETURN(const GgufValue* value, Get(key));
  if (const auto* texts = std::get_if<std::vector<std::string_view>>(value)) return texts;
  return WrongType(path_, key, "an array of strings");
}

absl::StatusOr<std::vector<int64_t>> GgufFile::GetInts(std::string_view key) const {
  HONE_ASSIGN_OR_RETURN(const GgufValue* value, Get(key));
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(value)) return *numbers;
  const auto* numbers = std::get_if<std::vector<uint64_t>>(value);
  if (numbers == nullptr) return WrongType(path_, key, "an array of whole numbers");
  std::vector<int64_t> result;
  for (const uint64_t number : *numbers) {
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return WrongType(path_, key, "whole numbers below 2^63");
    }
    result.push_back(static_cast<int64_t>(number));
  }
  return result;
}

absl::Status GgufFile::CheckReadable(const GgufTensor& tensor) const {
  if (IsReadable(tensor.type)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor '", Shorten(tensor.name), "' has GGML type ",
                                                 ToAbsl(GgmlTypeName(tensor.type)),
                                                 "; F32, F16, BF16, Q4_0, Q4_1, Q5_0 and Q8_0 can be read"));
}

absl::Status GgufFile::ReadAsF32(const GgufTensor& tensor, float* out) const {
  HONE_RETURN_IF_ERROR(CheckReadable(tensor));
  const auto* bytes = reinterpret_cast<const uint8_t*>(tensor.bytes.data());
  const auto count = static_cast<size_t>(tensor.element_count);
  void (*dequantize)(const uint8_t*, float*) = nullptr;
  switch (static_cast<GgmlType>(tensor.type)) {
    case GgmlType::kF32:
      return ConvertToF32(DType::kF32, bytes, count, out);
    case GgmlType::kF16:
      return ConvertToF32(DType::kF16, bytes, count, out);
    case GgmlType::kBF16:
      return ConvertToF32(DType::kBF16, bytes, count, out);
    case GgmlType::kQ4_0:
      dequantize = DequantizeQ4_0;
      break;
    case GgmlType::kQ4_1:
      dequantize = DequantizeQ4_1;
      break;
    case GgmlType::kQ5_0:
      dequantize = DequantizeQ5_0;
      break;
    case GgmlType::kQ8_0:
      dequantize = DequantizeQ8_0;
      break;
  }
  const auto block_bytes = static_cast<size_t>(FindType(tensor.type)->block_bytes);
  for (size_t block = 0; block < count / kBlockElements; ++block) {
    dequantize(bytes + block * block_bytes, out + block * kBlockElements);
  }
  return absl::OkStatus();
}

}  // namespace hone::model
