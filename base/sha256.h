// SHA-256 (FIPS 180-4), incremental and one-shot.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace hone {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(std::string_view data);
  // 64 lower-case hexadecimal digits; the object may not be used afterwards.
  std::string FinishHex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string Sha256Hex(std::string_view data);

}  // namespace hone
