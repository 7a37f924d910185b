#include "coordinator/journal/frame.h"

#include "base/crc32c.h"

namespace hone::coordinator {
namespace {

void Put(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

uint64_t Get(std::string_view bytes, size_t offset, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[offset + static_cast<size_t>(i)])) << (8 * i);
  }
  return value;
}

// As base/crc32c.h masks: a CRC stored beside the data it covers.
uint32_t Mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

uint32_t FrameCrc(std::string_view length_and_synced, std::string_view payload) {
  return Mask(Crc32c(payload, Crc32c(length_and_synced)));
}

}  // namespace

std::string EncodeSegmentHeader(uint64_t base) {
  std::string header;
  Put(&header, kSegmentMagic, 8);
  Put(&header, kSegmentVersion, 4);
  Put(&header, base, 8);
  Put(&header, MaskedCrc32c(header), 4);
  return header;
}

std::optional<uint64_t> DecodeSegmentHeader(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes || Get(bytes, 0, 8) != kSegmentMagic || Get(bytes, 8, 4) != kSegmentVersion ||
      Get(bytes, 20, 4) != MaskedCrc32c(bytes.substr(0, 20))) {
    return std::nullopt;
  }
  return Get(bytes, 12, 8);
}

std::string EncodeFrameHeader(std::string_view payload, uint64_t synced) {
  std::string header;
  Put(&header, kFrameMarker, 4);
  Put(&header, payload.size(), 4);
  Put(&header, synced, 8);
  Put(&header, FrameCrc(std::string_view(header).substr(4, 12), payload), 4);
  return header;
}

std::optional<FrameView> DecodeFrame(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes || Get(bytes, 0, 4) != kFrameMarker) return std::nullopt;
  const size_t length = Get(bytes, 4, 4);
  if (length > kMaxPayloadBytes || length > bytes.size() - kFrameHeaderBytes) return std::nullopt;
  FrameView frame;
  frame.payload = bytes.substr(kFrameHeaderBytes, length);
  frame.synced = Get(bytes, 8, 8);
  frame.size = kFrameHeaderBytes + length;
  if (Get(bytes, 16, 4) != FrameCrc(bytes.substr(4, 12), frame.payload)) return std::nullopt;
  return frame;
}

}  // namespace hone::coordinator
