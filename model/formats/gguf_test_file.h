// Writes GGUF files for tests: metadata and tensors in the order given.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace hone::model {

class GgufTestFile {
 public:
  void Int(std::string_view key, uint32_t value) { Entry(key, 4, Raw(value)); }
  void Float(std::string_view key, float value) { Entry(key, 6, Raw(value)); }
  void Bool(std::string_view key, bool value) { Entry(key, 7, std::string(1, value ? '\1' : '\0')); }
  void String(std::string_view key, std::string_view value) { Entry(key, 8, Text(value)); }
  void Strings(std::string_view key, const std::vector<std::string>& values) {
    std::string bytes = Raw(uint32_t{8}) + Raw(uint64_t{values.size()});
    for (const std::string& value : values) bytes += Text(value);
    Entry(key, 9, bytes);
  }
  void Ints(std::string_view key, const std::vector<int32_t>& values) {
    std::string bytes = Raw(uint32_t{5}) + Raw(uint64_t{values.size()});
    for (const int32_t value : values) bytes += Raw(value);
    Entry(key, 9, bytes);
  }
  // Any value: its type's number and its bytes.
  void Entry(std::string_view key, uint32_t type, std::string_view bytes) {
    ++entry_count_;
    entries_ += Text(key) + Raw(type);
    entries_ += bytes;
  }
  // `shape` outermost first; `bytes` as they stand in the file.
  void Tensor(std::string_view name, const std::vector<uint64_t>& shape, uint32_t type, std::string_view bytes) {
    ++tensor_count_;
    tensors_ += Text(name) + Raw(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) tensors_ += Raw(shape[i]);
    tensors_ += Raw(type) + Raw(uint64_t{data_.size()});
    data_ += bytes;
    data_.resize((data_.size() + 31) / 32 * 32);
  }
  void F32Tensor(std::string_view name, const std::vector<uint64_t>& shape, const std::vector<float>& values) {
    Tensor(name, shape, 0, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }
  std::string Finish() const {
    std::string file = "GGUF" + Raw(uint32_t{3}) + Raw(tensor_count_) + Raw(entry_count_) + entries_ + tensors_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + data_;
  }

  template <typename T>
  static std::string Raw(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
  }
  static std::string Text(std::string_view value) { return Raw(uint64_t{value.size()}) + std::string(value); }

 private:
  uint64_t entry_count_ = 0;
  uint64_t tensor_count_ = 0;
  std::string entries_;
  std::string tensors_;
  std::string data_;
};

}  // namespace hone::model
