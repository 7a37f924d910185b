// Any bytes as a journal's segment: a frame that is taken for whole lies inside them and is what was written.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "coordinator/journal/frame.h"

using hone::coordinator::DecodeFrame;
using hone::coordinator::DecodeSegmentHeader;
using hone::coordinator::EncodeFrameHeader;
using hone::coordinator::EncodeSegmentHeader;
using hone::coordinator::kFrameHeaderBytes;
using hone::coordinator::kSegmentHeaderBytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto base = DecodeSegmentHeader(bytes)) {
    HONE_CHECK(bytes.substr(0, kSegmentHeaderBytes) == EncodeSegmentHeader(*base));
  }
  if (const auto frame = DecodeFrame(bytes)) {
    HONE_CHECK(frame->size <= size && frame->payload.size() + kFrameHeaderBytes == frame->size);
    HONE_CHECK(bytes.substr(0, kFrameHeaderBytes) == EncodeFrameHeader(frame->payload, frame->synced));
  }
  // The checksums are out of a fuzzer's reach: the same bytes as a payload, with one bit changed somewhere.
  std::string whole = EncodeFrameHeader(bytes, size);
  whole.append(bytes);
  const auto frame = DecodeFrame(whole);
  HONE_CHECK(frame.has_value() && frame->payload == bytes && frame->synced == size);
  HONE_CHECK(!DecodeFrame(std::string_view(whole).substr(0, whole.size() - 1)).has_value());
  const size_t at = size == 0 ? 0 : data[0] % whole.size();
  whole[at] = static_cast<char>(whole[at] ^ (1 << (size % 8)));
  HONE_CHECK(!DecodeFrame(whole).has_value());
  return 0;
}
