// The input's first half (up to a zero byte) as tokenizer.json, the rest as text to encode and decode with it.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/strings.h"
#include "model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const std::string_view text = input.substr(std::min(end + 1, size));
  const auto tokenizer = hone::model::Tokenizer::FromJson(input.substr(0, end), "");
  if (!tokenizer.ok()) return 0;
  const std::vector<int32_t> ids = (*tokenizer)->Encode(text);
  for (const int32_t id : ids) HONE_CHECK(id >= 0 && id < (*tokenizer)->vocab_size());
  const std::string decoded = (*tokenizer)->Decode(ids);
  HONE_CHECK(hone::IsValidUtf8(decoded));
  hone::model::StreamDecoder stream(tokenizer->get());
  std::string streamed;
  for (const int32_t id : ids) streamed += stream.Push(id);
  streamed += stream.Flush();
  HONE_CHECK(streamed == decoded);
  (*tokenizer)->Encode(text, false);
  return 0;
}
