// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as the journal and TensorBoard's record files use it.
#pragma once

#include <cstdint>
#include <string_view>

namespace hone {

// CRC of `data`, continuing from `crc` (0 to begin).
uint32_t Crc32c(std::string_view data, uint32_t crc = 0);
// TFRecord's masked form: rotate right by 15 and add a constant, so that a CRC over bytes holding CRCs stays strong.
inline uint32_t MaskedCrc32c(std::string_view data) {
  const uint32_t crc = Crc32c(data);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace hone
