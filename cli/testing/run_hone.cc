#include "cli/testing/run_hone.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/files.h"
#include "base/subprocess.h"

namespace hone::cli {

Result Hone(const std::string& words, const std::map<std::string, std::string>& env) {
  SubprocessOptions options;
  options.argv = {"/bin/sh", "-c", absl::StrCat("exec ", HONE_BIN_DIR, "/hone ", words, " > cli.out 2> cli.err")};
  options.env = env;
  options.env.emplace("HONE_COORDINATOR", "");
  options.env.emplace("HONE_DATA", "");
  auto process = Subprocess::Start(options);
  EXPECT_TRUE(process.ok()) << process.status();
  Result result;
  result.exit = (*process)->Wait(absl::InfiniteDuration()).value_or(-1);
  result.out = *ReadFile("cli.out");
  result.err = *ReadFile("cli.err");
  return result;
}

}  // namespace hone::cli
