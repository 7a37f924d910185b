#include "base/paths.h"

#include <filesystem>

namespace hone {

std::string PlainPath(const std::string& path) {
  std::string plain = std::filesystem::path(path).lexically_normal().string();
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  return plain;
}

}  // namespace hone
