// Runs the real `hone` program for tests: its exit code, and what it wrote.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/subprocess.h"

namespace hone::cli {

struct Result {
  int exit = -1;
  std::string out;
  std::string err;
};

// `words` are a shell's. No coordinator and no folder of data are known but those that `env` names.
Result Hone(const std::string& words, const std::map<std::string, std::string>& env = {});

// Several at once: `tag` names the files that they write to.
std::unique_ptr<Subprocess> StartHone(const std::string& tag, const std::string& words,
                                      const std::map<std::string, std::string>& env = {});
// Waits for its end.
Result FinishHone(const std::string& tag, Subprocess* process);

}  // namespace hone::cli
