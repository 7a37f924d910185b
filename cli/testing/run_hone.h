// Runs the real `hone` program for tests: its exit code, and what it wrote.
#pragma once

#include <map>
#include <string>

namespace hone::cli {

struct Result {
  int exit = -1;
  std::string out;
  std::string err;
};

// `words` are a shell's. No coordinator and no folder of data are known but those that `env` names.
Result Hone(const std::string& words, const std::map<std::string, std::string>& env = {});

}  // namespace hone::cli
