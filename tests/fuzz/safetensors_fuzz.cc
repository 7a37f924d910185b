// Any bytes as a safetensors file: parse, then read every tensor that can be read.
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "model/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = hone::model::SafetensorsFile::Parse({reinterpret_cast<const char*>(data), size}, "input");
  if (!file.ok()) return 0;
  size_t covered = 0;
  for (const hone::model::TensorInfo& tensor : (*file)->tensors()) {
    covered += tensor.bytes.size();
    HONE_CHECK((*file)->Find(tensor.name) == &tensor);
    std::vector<float> values(static_cast<size_t>(tensor.element_count));
    hone::model::ReadTensorAsF32(tensor, tensor.shape, values.data()).IgnoreError();
  }
  HONE_CHECK(covered <= size);
  return 0;
}
