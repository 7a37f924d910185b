// The bytes of one journal frame, and of a segment's header (docs/durability.md).
//
//   segment  u64 magic | u32 version | u64 base position | u32 masked CRC-32C of the 20 bytes before; then frames
//   frame    u32 marker | u32 payload length | u64 synced position | u32 masked CRC-32C (length, synced, payload) |
//   payload
//
// All integers little-endian. `synced` is a position that was durable when the frame was appended: it tells frames of
// one torn, never acknowledged batch from frames that follow a corrupted one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hone::coordinator {

inline constexpr uint64_t kSegmentMagic = 0x314e524a454e4f48u;  // "HONEJRN1"
inline constexpr uint32_t kSegmentVersion = 1;
inline constexpr size_t kSegmentHeaderBytes = 24;
inline constexpr uint32_t kFrameMarker = 0x4d524648u;  // "HFRM"
inline constexpr size_t kFrameHeaderBytes = 20;
inline constexpr size_t kMaxPayloadBytes = 64u << 20;  // as the largest message

std::string EncodeSegmentHeader(uint64_t base);
// The base position; nullopt where the header is damaged or of another version.
std::optional<uint64_t> DecodeSegmentHeader(std::string_view bytes);

std::string EncodeFrameHeader(std::string_view payload, uint64_t synced);

struct FrameView {
  std::string_view payload;
  uint64_t synced = 0;
  size_t size = 0;  // header and payload
};
// The frame at the start of `bytes`; nullopt where it is incomplete or damaged.
std::optional<FrameView> DecodeFrame(std::string_view bytes);

}  // namespace hone::coordinator
