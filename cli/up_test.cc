// `hone up` with the real programs: a run from nothing to its end, in spite of kills, twice with the same weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "cli/exit_codes.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;

struct Result {
  int exit = -1;
  std::string out;
  std::string err;
};

// `hone <words>`, started; its output goes to up-<tag>.out and .err.
std::unique_ptr<Subprocess> Start(const std::string& tag, const std::string& words) {
  SubprocessOptions options;
  options.argv = {"/bin/sh", "-c",
                  absl::StrCat("exec ", HONE_BIN_DIR, "/hone ", words, " > up-", tag, ".out 2> up-", tag, ".err")};
  options.env = {{"HONE_COORDINATOR", ""}};
  auto process = Subprocess::Start(options);
  EXPECT_TRUE(process.ok()) << process.status();
  return *std::move(process);
}

Result Finish(const std::string& tag, Subprocess* process) {
  Result result;
  result.exit = process->Wait(absl::InfiniteDuration()).value_or(-1);
  result.out = *ReadFile(absl::StrCat("up-", tag, ".out"));
  result.err = *ReadFile(absl::StrCat("up-", tag, ".err"));
  return result;
}

Result Hone(const std::string& tag, const std::string& words) { return Finish(tag, Start(tag, words).get()); }

// The words that run a small run with its own state and output folders.
std::string TinyRun(const std::string& state, const std::string& output) {
  return absl::StrCat("--state ", state, " --threads 1 --run up-tiny.yaml --set output_dir=", output);
}

nlohmann::json Summary(const std::string& output) {
  const auto text = ReadFile(output + "/summary.json");
  EXPECT_TRUE(text.ok()) << text.status();
  return nlohmann::json::parse(text.ok() ? *text : "{}");
}

class Up : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const char* folder :
         {"up-data", "up-a", "up-b", "up-c", "up-d", "up-out-a", "up-out-b", "up-out-c", "up-out-d"}) {
      ASSERT_TRUE(RemoveTree(folder).ok());
    }
    ASSERT_EQ(
        Hone("make", "data make small-world --out up-data --pretrain_rows 400 --train_rows 64 --test_rows 16").exit, 0);
    ASSERT_TRUE(WriteFileAtomic("up-tiny.yaml", R"(
name: up-tiny
seed: 3
model: {path: up-data/model, random_init: true}
datasets:
  mixture: {sources: [{path: up-data/pretrain.jsonl}]}
  problems: {sources: [{path: up-data/train.jsonl}]}
  held-out: {sources: [{path: up-data/test.jsonl}]}
checkpoints: {every_steps: 2}
stages:
  - name: base
    pretrain: {dataset: mixture, steps: 8, batch_size: 16, optimizer: {learning_rate: 2e-3}}
  - name: zero
    rl:
      dataset: problems
      steps: 6
      prompts_per_step: 4
      group_size: 4
      sampling: {max_new_tokens: 24}
      rewards: [{accuracy: {}}, {format: {}}]
      optimizer: {learning_rate: 3e-4}
      evaluate: {evaluation: {dataset: held-out, sampling: {max_new_tokens: 24}}}
  - name: model
    export: {}
)")
                    .ok());
  }
};

// One test, because its parts compare what they leave.
TEST_F(Up, ARunSurvivesKillsAndInterruptionsWithTheSameWeights) {
  // Undisturbed.
  const Result first = Hone("first", absl::StrCat("up --exit ", TinyRun("up-a", "up-out-a")));
  ASSERT_EQ(first.exit, kExitOk) << first.err;
  EXPECT_THAT(first.out, HasSubstr("pass@1"));
  EXPECT_THAT(first.out, HasSubstr("weights_sha256"));
  EXPECT_FALSE(FileExists("up-a/endpoint")) << "the endpoint file is there only while it runs";
  const nlohmann::json summary = Summary("up-out-a");
  EXPECT_GT(summary["compared_tokens"].get<double>(), 0);
  EXPECT_EQ(summary["max_abs_logprob_diff"], 0);
  const std::string weights = summary["weights_sha256"];
  EXPECT_EQ(Hone("hash", "model hash up-out-a/export/model").out, weights + "\n");

  // The same command again finds the run finished.
  const Result again = Hone("again", absl::StrCat("up --exit ", TinyRun("up-a", "up-out-a")));
  EXPECT_EQ(again.exit, kExitOk) << again.err;
  EXPECT_THAT(again.err, HasSubstr("has finished before"));

  // In the background, with every process but the coordinator killed once, then the coordinator.
  const Result detached = Hone("detach", "up --detach --state up-b --threads 1");
  ASSERT_EQ(detached.exit, kExitOk) << detached.err;
  EXPECT_EQ(Hone("second-up", "up --state up-b").exit, kExitRefused);
  const auto run = Start("run", "run up-tiny.yaml --set output_dir=up-out-b --wait --coordinator up-b");
  const Result status = Hone("status", "status --output json --coordinator up-b");
  ASSERT_EQ(status.exit, kExitOk) << status.err;
  int killed = 0;
  const nlohmann::json members = nlohmann::json::parse(status.out)["members"];
  for (const auto& member : members) {
    const std::string name = member["name"];  // host:pid
    ASSERT_EQ(kill(std::stoi(name.substr(name.rfind(':') + 1)), SIGKILL), 0) << name;
    ++killed;
  }
  EXPECT_EQ(killed, 3);
  const Result disturbed = Finish("run", run.get());
  EXPECT_EQ(disturbed.exit, kExitOk) << disturbed.err;
  EXPECT_EQ(Summary("up-out-b")["weights_sha256"], weights);
  EXPECT_EQ(Hone("down", "down --state up-b").exit, kExitOk);
  EXPECT_EQ(Hone("down-again", "down --state up-b").exit, kExitNotFound);

  // Interrupted by a signal in the middle, and taken up by the same command.
  const auto interrupted = Start("interrupted", absl::StrCat("up --exit ", TinyRun("up-c", "up-out-c")));
  while (!FileExists("up-out-c/checkpoints/base") && !interrupted->Poll().has_value())
    absl::SleepFor(absl::Milliseconds(5));
  interrupted->Signal(SIGTERM);
  const Result stopped = Finish("interrupted", interrupted.get());
  EXPECT_EQ(stopped.exit, kExitStopped) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("takes run 'up-tiny' up again"));
  const Result resumed = Hone("resumed", absl::StrCat("up --exit ", TinyRun("up-c", "up-out-c")));
  EXPECT_EQ(resumed.exit, kExitOk) << resumed.err;
  EXPECT_EQ(Summary("up-out-c")["weights_sha256"], weights);
}

TEST_F(Up, ARunThatFailsSaysWhyAndExitsWithOne) {
  const Result result = Hone("fail",
                             "up --exit --threads 1 --state up-d --run up-tiny.yaml --set name=broken "
                             "--set output_dir=up-out-d --set model.path=up-nowhere");
  EXPECT_EQ(result.exit, kExitFailed) << result.err;
  EXPECT_THAT(result.err, HasSubstr("run 'broken' failed: "));
  EXPECT_THAT(result.err, HasSubstr("up-nowhere"));
  ASSERT_TRUE(RemoveTree("up-d").ok());
}

}  // namespace
}  // namespace hone::cli
