#include "cli/testing/run_hone.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/files.h"

namespace hone::cli {
namespace {

// Test programs that run at the same time share a folder.
std::string OutputFile(const std::string& tag) { return absl::StrCat("hone-", tag, ".", getpid()); }

}  // namespace

std::unique_ptr<Subprocess> StartHone(const std::string& tag, const std::string& words,
                                      const std::map<std::string, std::string>& env) {
  SubprocessOptions options;
  options.argv = {"/bin/sh", "-c",
                  absl::StrCat("exec ", HONE_BIN_DIR, "/hone ", words, " > ", OutputFile(tag), ".out 2> ",
                               OutputFile(tag), ".err")};
  options.env = env;
  options.env.emplace("HONE_COORDINATOR", "");
  options.env.emplace("HONE_DATA", "");
  auto process = Subprocess::Start(options);
  EXPECT_TRUE(process.ok()) << process.status();
  return *std::move(process);
}

Result FinishHone(const std::string& tag, Subprocess* process) {
  Result result;
  result.exit = process->Wait(absl::InfiniteDuration()).value_or(-1);
  result.out = *ReadFile(OutputFile(tag) + ".out");
  result.err = *ReadFile(OutputFile(tag) + ".err");
  for (const char* end : {".out", ".err"}) unlink((OutputFile(tag) + end).c_str());
  return result;
}

Result Hone(const std::string& words, const std::map<std::string, std::string>& env) {
  return FinishHone("one", StartHone("one", words, env).get());
}

}  // namespace hone::cli
