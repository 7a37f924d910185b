// The source polices itself: include directions, file sizes, words that do not belong in the tree.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hone {
namespace {
namespace fs = std::filesystem;

struct SourceFile {
  std::string path;    // relative to the root
  std::string folder;  // first component
  std::vector<std::string> lines;
};

std::vector<SourceFile> ReadSources() {
  std::vector<SourceFile> files;
  const fs::path root(HONE_SOURCE_DIR);
  for (const char* folder : {"base", "rpc", "kernels", "model", "weight_sync", "rollout_worker", "learner",
                             "reward_server", "coordinator", "corpus", "cli", "tests", "bench"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cc" && extension != ".h" && extension != ".cu" && extension != ".cuh") continue;
      SourceFile file;
      file.path = fs::relative(entry.path(), root).string();
      file.folder = folder;
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  return files;
}

bool IsTest(const std::string& path) {
  return path.ends_with("_test.cc") || path.find("/testing") != std::string::npos ||
         path.find("fuzz") != std::string::npos || path.find("/test_") != std::string::npos ||
         path.find("bench") != std::string::npos;
}

// For each folder, the folders that it may include (docs/architecture.md).
const std::map<std::string, std::set<std::string>>& Allowed() {
  static const auto* allowed = new std::map<std::string, std::set<std::string>>{
      {"base", {"base"}},
      {"rpc", {"rpc", "base", "hone"}},
      {"kernels", {"kernels", "base"}},
      {"model", {"model", "kernels", "base"}},
      {"weight_sync", {"weight_sync", "model", "kernels", "rpc", "base", "hone"}},
      {"rollout_worker", {"rollout_worker", "weight_sync", "model", "kernels", "rpc", "base", "hone"}},
      {"learner", {"learner", "weight_sync", "model", "kernels", "rpc", "base", "hone"}},
      {"reward_server", {"reward_server", "rpc", "base", "hone"}},
      {"coordinator", {"coordinator", "rpc", "base", "hone"}},
      {"corpus", {"corpus", "model", "rpc", "base", "hone"}},
      {"cli",
       {"cli", "corpus", "coordinator", "rollout_worker", "learner", "reward_server", "model", "kernels", "rpc", "base",
        "hone"}},
  };
  return *allowed;
}

TEST(HouseTest, FoldersIncludeOnlyLowerFloors) {
  const std::set<std::string> ours = {
      "base",    "rpc",           "kernels",     "model",  "weight_sync", "rollout_worker",
      "learner", "reward_server", "coordinator", "corpus", "cli",         "hone"};
  const std::regex include("^\\s*#include \"([a-z_0-9]+)/.*\"");
  int seen = 0;
  for (const SourceFile& file : ReadSources()) {
    const auto allowed = Allowed().find(file.folder);
    if (allowed == Allowed().end()) continue;  // tests and bench may include everything
    for (size_t i = 0; i < file.lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(file.lines[i], match, include) || ours.count(match[1]) == 0) continue;
      ++seen;
      EXPECT_TRUE(allowed->second.count(match[1]))
          << file.path << ":" << i + 1 << ": " << file.folder << "/ may not include " << match[1] << "/";
    }
  }
  EXPECT_GT(seen, 100) << "the scan found hardly any include: it is broken";
}

TEST(HouseTest, FilesStaySmall) {
  for (const SourceFile& file : ReadSources()) EXPECT_LE(file.lines.size(), 800u) << file.path;
}

TEST(HouseTest, EveryHeaderIsGuardedAndIntroduced) {
  for (const SourceFile& file : ReadSources()) {
    if (!file.path.ends_with(".h")) continue;
    ASSERT_FALSE(file.lines.empty()) << file.path;
    EXPECT_TRUE(file.lines[0].starts_with("//")) << file.path << ": a header begins by saying what it is";
    EXPECT_NE(std::find(file.lines.begin(), file.lines.end(), "#pragma once"), file.lines.end()) << file.path;
  }
}

TEST(HouseTest, NoUnfinishedWorkAndNoSwitchedOffTests) {
  const std::regex unfinished("\\b(TODO|FIXME|XXX|HACK)\\b");
  for (const SourceFile& file : ReadSources()) {
    if (file.path == "tests/house/house_test.cc") continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(file.lines[i], unfinished)) << file.path << ":" << i + 1;
      EXPECT_EQ(file.lines[i].find("DISABLED_"), std::string::npos) << file.path << ":" << i + 1;
    }
  }
}

TEST(HouseTest, KernelsAndModelStayPure) {
  // kernels/ and model/ never see protos, gRPC, flags or the environment.
  for (const SourceFile& file : ReadSources()) {
    if ((file.folder != "kernels" && file.folder != "model") || IsTest(file.path)) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      for (const char* word : {"getenv", "grpcpp", "google/protobuf", ".pb.h", "base/flags.h"}) {
        EXPECT_EQ(line.find(word), std::string::npos) << file.path << ":" << i + 1 << ": " << word;
      }
    }
  }
}

TEST(HouseTest, NumericsUseOurOwnTranscendentals) {
  // libm chooses variants by CPU, which would break replay between machines of one numerics key.
  const std::regex libm("\\bstd::(exp|log|exp2|log2|pow|sin|cos|tanh|expf|logf)\\(");
  for (const SourceFile& file : ReadSources()) {
    if (!file.path.starts_with("kernels/cpu/") && !(file.path.starts_with("model/") && !IsTest(file.path))) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(file.lines[i], libm)) << file.path << ":" << i + 1 << ": " << file.lines[i];
    }
  }
}

}  // namespace
}  // namespace hone
