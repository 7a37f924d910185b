// Paths as texts: nothing here looks at a disk.
#pragma once

#include <string>

namespace hone {

// The path without ".", ".." where it can go, doubled and trailing slashes: two texts of one place are equal then
// (links apart), and a sibling's name is the path and an ending.
std::string PlainPath(const std::string& path);

}  // namespace hone
