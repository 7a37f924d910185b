// The life of a run under a real `hone up`: paused, resumed, stopped, looked into, exported, resumed, forked. None of
// it shows in the weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "cli/exit_codes.h"
#include "cli/testing/run_hone.h"
#include "cli/testing/tiny_run.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;

// Long enough that it can be stopped in the middle.
constexpr int kSteps = 40;
const std::string kChanges =
    absl::StrCat(" --set stages.zero.rl.steps=", kSteps,
                 " --set stages.zero.rl.evaluate.every_steps=10 --set stages.zero.rl.evaluate.keep_best=true ");

class Lifecycle : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* folder : {"life-a", "life-b", "life-out-a", "life-out-b", "life-out-c", "life-export"}) {
      ASSERT_TRUE(RemoveTree(folder).ok());
    }
    // What exports of earlier times of this test wrote.
    for (const std::string& name : ListDirectory("runs").value_or(std::vector<std::string>())) {
      if (name.starts_with("export-")) {
        ASSERT_TRUE(RemoveTree("runs/" + name).ok());
      }
    }
    ASSERT_TRUE(MakeTinyWorld());
  }
  void TearDown() override { Hone("down --state life-b"); }

  // With the cluster of life-b.
  static Result In(const std::string& words) { return Hone(words + " --coordinator life-b"); }
  static nlohmann::json Run() {
    const Result status = In("status tiny --output json");
    EXPECT_EQ(status.exit, kExitOk) << status.err;
    return nlohmann::json::parse(status.out, nullptr, false);
  }
  // Waits until `reached` holds of the run, or it has ended.
  static nlohmann::json Await(const std::function<bool(const nlohmann::json&)>& reached) {
    for (;;) {
      nlohmann::json run = Run();
      const std::string state = run["state"];
      if (reached(run) || state == "RUN_STATE_SUCCEEDED" || state == "RUN_STATE_FAILED") return run;
      absl::SleepFor(absl::Milliseconds(5));
    }
  }
  // Hash of the last weights of the stage, whichever are the best.
  static std::string LastWeights(const std::string& output) {
    const Result hash = Hone(absl::StrFormat("model hash %s/checkpoints/zero/step-%06d/model", output, kSteps));
    EXPECT_EQ(hash.exit, kExitOk) << hash.err;
    return hash.out;
  }
  static int StepsOf(const nlohmann::json& run, int stage) { return run["stages"][stage]["steps_done"]; }
};

TEST_F(Lifecycle, NothingThatIsDoneToARunShowsInItsWeights) {
  const Result undisturbed = Hone(absl::StrCat("up --exit ", TinyRun("life-a", "life-out-a"), kChanges));
  ASSERT_EQ(undisturbed.exit, kExitOk) << undisturbed.err;
  const std::string weights = Summary("life-out-a")["weights_sha256"], last = LastWeights("life-out-a");
  const std::string base_weights = Hone("model hash life-out-a/checkpoints/base/step-000008/model").out;
  EXPECT_NE(last, base_weights) << "reinforcement learning has moved the weights";

  ASSERT_EQ(Hone("up --detach --state life-b --threads 1").exit, kExitOk);
  ASSERT_EQ(In(absl::StrCat("run tiny.yaml --set output_dir=life-out-b", kChanges)).exit, kExitOk);

  // Paused, nothing more is learned once the step in hand is done.
  Await([](const auto& run) { return StepsOf(run, 0) >= 1; });
  const Result paused = In("pause tiny");
  ASSERT_EQ(paused.exit, kExitOk) << paused.err;
  EXPECT_EQ(paused.out, "runs/tiny paused\n");
  EXPECT_EQ(In("pause tiny").exit, kExitOk) << "idempotent";
  nlohmann::json resting = Run();
  for (nlohmann::json before; before != resting["stages"]; resting = Run()) {
    before = resting["stages"];
    absl::SleepFor(absl::Milliseconds(500));
  }
  EXPECT_EQ(resting["state"], "RUN_STATE_PAUSED");
  absl::SleepFor(absl::Seconds(1));
  EXPECT_EQ(Run()["stages"], resting["stages"]);
  EXPECT_LT(StepsOf(resting, 1), kSteps);
  ASSERT_EQ(In("resume tiny").out, "runs/tiny running\n");

  // Stopped in the middle of reinforcement learning; what is there can be looked at and taken away.
  Await([](const auto& run) { return StepsOf(run, 1) >= 4; });
  EXPECT_EQ(In("stop tiny").exit, kExitOk);
  EXPECT_EQ(In("watch tiny").exit, kExitStopped);
  const nlohmann::json stopped = Run();
  ASSERT_EQ(stopped["state"], "RUN_STATE_STOPPED") << "it ended before it was stopped: give it more steps";
  EXPECT_EQ(In("pause tiny").exit, kExitRefused);
  const Result samples = In("samples tiny --stage zero --step 3 --all --output json");
  EXPECT_EQ(samples.exit, kExitOk) << samples.err;
  std::istringstream lines(samples.out);
  std::set<std::string> groups;
  int trained = 0;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json sample = nlohmann::json::parse(line);
    if (sample["purpose"] != "GROUP_PURPOSE_TRAIN") continue;
    ++trained;
    groups.insert(sample["group_id"]);
    EXPECT_FALSE(sample["prompt"].get<std::string>().empty());
    EXPECT_EQ(sample["trajectory"]["verdict"]["components"].size(), 2u) << line;
  }
  EXPECT_EQ(trained, 16);
  EXPECT_EQ(groups.size(), 4u);
  const Result exported = In("export tiny --out life-export");
  ASSERT_EQ(exported.exit, kExitOk) << exported.err;
  EXPECT_EQ(Hone("model hash life-export").out.size(), 65u) << "a whole model";

  // From where it was stopped to the end of the undisturbed run.
  ASSERT_EQ(In("resume tiny").exit, kExitOk);
  const Result watched = In("watch tiny");
  EXPECT_EQ(watched.exit, kExitOk) << watched.err;
  EXPECT_EQ(Summary("life-out-b")["weights_sha256"], weights);
  EXPECT_EQ(LastWeights("life-out-b"), last);

  // What later stages start from is what is exported: the best, which need not be the newest.
  const nlohmann::json finished = Run();
  const std::string result = finished["stages"][1]["result_path"];
  EXPECT_TRUE(DirectoryExists(result)) << result;
  ASSERT_TRUE(RemoveTree("life-export").ok());
  ASSERT_EQ(In("export tiny --stage zero --out life-export").exit, kExitOk);
  EXPECT_EQ(Hone("model hash life-export").out, weights + "\n");
  EXPECT_THAT(In("export tiny --step 999 --out life-none").err, HasSubstr("of stage 'zero' at step 999; kept: "));

  // A fork: another run that takes up the base model's checkpoint. The same seed and stage come to the same weights.
  const std::string base = finished["stages"][0]["result_path"];
  ASSERT_TRUE(WriteFileAtomic("life-fork.yaml", absl::StrCat(R"(
name: fork
seed: 3
model: {path: tiny-data/model}
output_dir: life-out-c
datasets:
  problems: {sources: [{path: tiny-data/train.jsonl, prompt_suffix: " 1 + 2 + 3 + 4 + 5 ="}]}
  held-out: {sources: [{path: tiny-data/test.jsonl}]}
stages:
  - name: zero
    from_checkpoint: )",
                                                             base, R"(
    rl:
      dataset: problems
      steps: 40
      prompts_per_step: 4
      group_size: 4
      sampling: {max_new_tokens: 24}
      rewards: [{accuracy: {}}, {format: {}}]
      optimizer: {learning_rate: 3e-4}
      evaluate: {every_steps: 10, keep_best: true, evaluation: {dataset: held-out, sampling: {max_new_tokens: 24}}}
)"))
                  .ok());
  const Result fork = In("run life-fork.yaml --wait");
  EXPECT_EQ(fork.exit, kExitOk) << fork.err;
  EXPECT_EQ(Summary("life-out-c")["weights_sha256"], weights);
  EXPECT_EQ(LastWeights("life-out-c"), last);
}

}  // namespace
}  // namespace hone::cli
