// Any bytes as a GGUF file: parse, dequantise every tensor, convert the tokenizer.
#include <cstdint>
#include <string_view>
#include <vector>

#include "model/formats/gguf.h"
#include "model/formats/gguf_tokenizer.h"
#include "model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = hone::model::GgufFile::Parse({reinterpret_cast<const char*>(data), size}, "input");
  if (!file.ok()) return 0;
  for (const hone::model::GgufTensor& tensor : (*file)->tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.element_count));
    (*file)->ReadAsF32(tensor, values.data()).IgnoreError();
  }
  const auto tokenizer = hone::model::ConvertGgufTokenizer(**file, 64);
  if (tokenizer.ok()) {
    hone::model::Tokenizer::FromJson(tokenizer->tokenizer_json, tokenizer->tokenizer_config_json)
        .status()
        .IgnoreError();
  }
  return 0;
}
