// `hone up` with the real programs: a run from nothing to its end, in spite of kills, twice with the same weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "cli/exit_codes.h"
#include "cli/testing/run_hone.h"
#include "cli/testing/tiny_run.h"

namespace hone::cli {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Process ids of the members in `role` of the cluster in `state`.
std::vector<pid_t> PidsOf(const std::string& state, const std::string& role) {
  const Result status = Hone("status --output json --coordinator " + state);
  EXPECT_EQ(status.exit, kExitOk) << status.err;
  std::vector<pid_t> pids;
  const nlohmann::json described = nlohmann::json::parse(status.out);
  for (const auto& member : described["members"]) {
    const std::string name = member["name"];  // host:pid
    if (member["role"] == role) pids.push_back(std::stoi(name.substr(name.rfind(':') + 1)));
  }
  return pids;
}

class Up : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const char* run : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}) {
      ASSERT_TRUE(RemoveTree(absl::StrCat("up-", run)).ok());
      ASSERT_TRUE(RemoveTree(absl::StrCat("up-out-", run)).ok());
    }
    ASSERT_TRUE(MakeTinyWorld());
  }
};

// One test, because its parts compare what they leave.
TEST_F(Up, ARunSurvivesKillsAndInterruptionsWithTheSameWeights) {
  // Undisturbed.
  const Result first = Hone(absl::StrCat("up --exit ", TinyRun("up-a", "up-out-a")));
  ASSERT_EQ(first.exit, kExitOk) << first.err;
  EXPECT_THAT(first.out, HasSubstr("pass@1"));
  EXPECT_THAT(first.out, HasSubstr("weights_sha256"));
  EXPECT_FALSE(FileExists("up-a/endpoint")) << "the endpoint file is there only while it runs";
  const nlohmann::json summary = Summary("up-out-a");
  EXPECT_GT(summary["compared_tokens"].get<double>(), 0);
  EXPECT_EQ(summary["max_abs_logprob_diff"], 0);
  EXPECT_THAT(*ReadFile("up-out-a/metrics.jsonl"), ContainsRegex("\"train/shared_tokens\":[1-9]"));
  const std::string weights = summary["weights_sha256"];
  EXPECT_EQ(Hone("model hash up-out-a/export/model").out, weights + "\n");

  // The same command again finds the run finished.
  const Result again = Hone(absl::StrCat("up --exit ", TinyRun("up-a", "up-out-a")));
  EXPECT_EQ(again.exit, kExitOk) << again.err;
  EXPECT_THAT(again.err, HasSubstr("has finished before"));

  // In the background, with every process but the coordinator killed once, then the coordinator.
  const Result detached = Hone("up --detach --state up-b --threads 1");
  ASSERT_EQ(detached.exit, kExitOk) << detached.err;
  EXPECT_EQ(Hone("up --state up-b").exit, kExitRefused);
  const auto run = StartHone("run", "run tiny.yaml --set output_dir=up-out-b --wait --coordinator up-b");
  const Result status = Hone("status --output json --coordinator up-b");
  ASSERT_EQ(status.exit, kExitOk) << status.err;
  int killed = 0;
  const nlohmann::json members = nlohmann::json::parse(status.out)["members"];
  for (const auto& member : members) {
    const std::string name = member["name"];  // host:pid
    ASSERT_EQ(kill(std::stoi(name.substr(name.rfind(':') + 1)), SIGKILL), 0) << name;
    ++killed;
  }
  EXPECT_EQ(killed, 3);
  const Result disturbed = FinishHone("run", run.get());
  EXPECT_EQ(disturbed.exit, kExitOk) << disturbed.err;
  EXPECT_EQ(Summary("up-out-b")["weights_sha256"], weights);
  EXPECT_EQ(Hone("down --state up-b").exit, kExitOk);
  EXPECT_EQ(Hone("down --state up-b").exit, kExitNotFound);

  // Interrupted by a signal in the middle, and taken up by the same command.
  const auto interrupted = StartHone("interrupted", absl::StrCat("up --exit ", TinyRun("up-c", "up-out-c")));
  while (!FileExists("up-out-c/checkpoints/base") && !interrupted->Poll().has_value())
    absl::SleepFor(absl::Milliseconds(5));
  interrupted->Signal(SIGTERM);
  const Result stopped = FinishHone("interrupted", interrupted.get());
  EXPECT_EQ(stopped.exit, kExitStopped) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("takes run 'tiny' up again"));
  const Result resumed = Hone(absl::StrCat("up --exit ", TinyRun("up-c", "up-out-c")));
  EXPECT_EQ(resumed.exit, kExitOk) << resumed.err;
  EXPECT_EQ(Summary("up-out-c")["weights_sha256"], weights);
}

TEST_F(Up, ARunThatFailsSaysWhyAndExitsWithOne) {
  const Result result = Hone(
      "up --exit --threads 1 --state up-d --run tiny.yaml --set name=broken "
      "--set output_dir=up-out-d --set model.random_init=false");
  EXPECT_EQ(result.exit, kExitFailed) << result.err;
  EXPECT_THAT(result.err, HasSubstr("run 'broken' failed: "));
  EXPECT_THAT(result.err, HasSubstr("tiny-data/model"));
  ASSERT_TRUE(RemoveTree("up-d").ok());
  // What can be seen before anything starts is told then.
  const Result nowhere = Hone("up --exit --state up-d --run tiny.yaml --set model.path=up-nowhere");
  EXPECT_EQ(nowhere.exit, kExitNotFound);
  EXPECT_THAT(nowhere.err, HasSubstr("model.path: up-nowhere"));
  const Result no_data = Hone("up --exit --state up-d --run tiny.yaml --set datasets.mixture.sources.0.path=absent");
  EXPECT_EQ(no_data.exit, kExitNotFound);
  EXPECT_THAT(no_data.err, HasSubstr("datasets.mixture.sources[0].path: absent: no such file"));
  EXPECT_FALSE(FileExists("up-d"));
}

// Workers of other machines must reach the learner and the reward server too.
TEST_F(Up, AllProcessesListenAtTheHostThatWasGiven) {
  const Result up = Hone("up --detach=1 --threads 1 --state up-l --listen 127.0.0.2:0");
  ASSERT_EQ(up.exit, kExitOk) << up.err;
  EXPECT_THAT(up.out, StartsWith("127.0.0.2:"));
  const Result status = Hone("status --output json --coordinator up-l");
  ASSERT_EQ(status.exit, kExitOk) << status.err;
  const nlohmann::json members = nlohmann::json::parse(status.out)["members"];
  EXPECT_EQ(members.size(), 3u);
  for (const auto& member : members) EXPECT_THAT(member["address"].get<std::string>(), StartsWith("127.0.0.2:"));
  EXPECT_EQ(Hone("down --state up-l").exit, kExitOk);
  EXPECT_EQ(Hone("up --detach --state up-l --listen 127.0.0.2").exit, kExitUnavailable);
}

// A model whose last weight is not a number, as a policy that diverged leaves it: the log-probs of its rollouts are not
// finite, and stay so however often they are made.
TEST_F(Up, ADivergedPolicyFailsItsRunInsteadOfHangingIt) {
  ASSERT_TRUE(WriteFileAtomic("up-made.yaml", R"(
name: up-made
model: {path: tiny-data/model, random_init: true}
datasets:
  mixture: {sources: [{path: tiny-data/pretrain.jsonl}]}
stages:
  - name: base
    pretrain: {dataset: mixture, steps: 1, batch_size: 4, optimizer: {learning_rate: 2e-3}}
  - name: model
    export: {}
)")
                  .ok());
  const Result made = Hone("up --exit --threads 1 --state up-e --run up-made.yaml --set output_dir=up-out-e");
  ASSERT_EQ(made.exit, kExitOk) << made.err;
  const std::string weights = "up-out-e/export/model/model.safetensors";
  std::string bytes = *ReadFile(weights);
  bytes.replace(bytes.size() - 4, 4, "\xff\x7f\xff\x7f");
  ASSERT_TRUE(WriteFileAtomic(weights, bytes).ok());
  ASSERT_TRUE(WriteFileAtomic("up-diverged.yaml", R"(
name: up-diverged
model: {path: up-out-e/export/model}
datasets:
  problems: {sources: [{path: tiny-data/train.jsonl}]}
stages:
  - name: zero
    rl:
      dataset: problems
      steps: 2
      prompts_per_step: 4
      group_size: 4
      sampling: {max_new_tokens: 24}
      rewards: [{accuracy: {}}]
      optimizer: {learning_rate: 3e-4}
)")
                  .ok());
  const Result result = Hone("up --exit --threads 1 --state up-f --run up-diverged.yaml --set output_dir=up-out-f");
  EXPECT_EQ(result.exit, kExitFailed) << result.err;
  for (const char* words : {"run 'up-diverged' failed: ", "stage 'zero': group ", "was refused 3 times",
                            "rollout_logprobs: a value is not finite", "probably diverged"}) {
    EXPECT_THAT(result.err, HasSubstr(words));
  }
}

// Rows of which one has a prompt that is too long: its groups are dropped, said once and counted, and the run goes on.
// A run of nothing but such groups, or of samples that nobody can score, has trained on nothing and must not pass for
// one.
TEST_F(Up, DroppedGroupsAreCountedAndARunOfNothingElseFails) {
  const std::string first = ReadFile("tiny-data/train.jsonl").value();
  nlohmann::json row = nlohmann::json::parse(first.substr(0, first.find('\n')));
  const std::string prompt = row["prompt"];
  std::string long_prompt;
  for (int i = 0; i < 60; ++i) long_prompt += (i == 0 ? "" : " ") + prompt;
  std::string rows = row.dump() + "\n";
  row["prompt"] = long_prompt;
  row["id"] = "long";
  ASSERT_TRUE(WriteFileAtomic("up-rows.jsonl", rows + row.dump() + "\n").ok());
  ASSERT_TRUE(WriteFileAtomic("up-nothing.yaml", R"(
name: up-nothing
model: {path: tiny-data/model, random_init: true}
datasets:
  problems: {sources: [{path: up-rows.jsonl}]}
stages:
  - name: zero
    rl:
      dataset: problems
      steps: 2
      prompts_per_step: 2
      group_size: 2
      max_prompt_tokens: 50
      sampling: {max_new_tokens: 8}
      rewards: [{accuracy: {}}]
      optimizer: {learning_rate: 3e-4}
)")
                  .ok());
  const auto run = [](const std::string& letter, const std::string& change) {
    return Hone(absl::StrCat("up --exit --threads 1 --run up-nothing.yaml --state up-", letter,
                             " --set output_dir=up-out-", letter, " ", change));
  };
  const Result partly = run("i", "");
  ASSERT_EQ(partly.exit, kExitOk) << partly.err;
  EXPECT_THAT(partly.out, HasSubstr("dropped_groups"));
  EXPECT_THAT(partly.out, Not(HasSubstr("unscorable_samples")));
  EXPECT_EQ(Summary("up-out-i")["dropped_groups"], 2);
  const std::string log = ReadFile("up-i/logs/rollout-worker.log").value();
  EXPECT_NE(log.find("is dropped"), std::string::npos) << log;
  EXPECT_EQ(log.find("is dropped"), log.rfind("is dropped")) << log;

  const Result nothing = run("j", "--set stages.zero.rl.max_prompt_tokens=1");
  EXPECT_EQ(nothing.exit, kExitFailed);
  EXPECT_THAT(nothing.err,
              HasSubstr("run 'up-nothing' failed: stage 'zero', step 1: there is nothing to train on: all "
                        "groups (2) were dropped, in 1 of 2 groups with the reason: overlong: the prompt"));
  EXPECT_EQ(Summary("up-out-j")["state"], "failed");
  EXPECT_EQ(Summary("up-out-j")["dropped_groups"], 2);

  const Result misspelt = run("k", "--set datasets.problems.sources.0.columns.answer=anwser");
  EXPECT_EQ(misspelt.exit, kExitInvalidInput);
  EXPECT_THAT(misspelt.err, HasSubstr("no row has the key 'anwser'"));
  EXPECT_THAT(misspelt.err, HasSubstr("did you mean 'answer'?"));
  const Result unscorable = run("k", "--set datasets.problems.sources.0.columns.answer=prompt");
  EXPECT_EQ(unscorable.exit, kExitFailed);
  EXPECT_THAT(unscorable.err,
              HasSubstr("stage 'zero', step 1: there is nothing to train on: of 2 groups 1 were dropped"));
  EXPECT_THAT(unscorable.err, HasSubstr("accuracy: "));
  EXPECT_THAT(*ReadFile("up-k/logs/rollout-worker.log"), HasSubstr("a sample has no reward, others may have none"));
  EXPECT_EQ(Summary("up-out-k")["unscorable_samples"], 2);
}

// One worker's memory holds no group of the run. It says so; the others do them all, and the weights are the same.
TEST_F(Up, AWorkerWithTooLittleMemoryLeavesNoTraceInARun) {
  const Result alone = Hone(absl::StrCat("up --exit ", TinyRun("up-g", "up-out-g")));
  ASSERT_EQ(alone.exit, kExitOk) << alone.err;

  ASSERT_EQ(Hone("up --detach --state up-h --threads 1 --kv_memory_mib 64 --max_sequences 32 --stall_seconds 100").exit,
            kExitOk);
  const std::vector<pid_t> large = PidsOf("up-h", "rollout_worker");
  ASSERT_EQ(large.size(), 1u);
  for (const char* flag : {"--kv_memory_mib=64", "--max_sequences=32", "--stall_seconds=100"}) {
    EXPECT_THAT(*ReadFile(absl::StrCat("/proc/", large[0], "/cmdline")), HasSubstr(flag)) << "passed on";
  }
  SubprocessOptions options;
  options.argv = {"/bin/sh", "-c",
                  absl::StrCat("exec ", HONE_BIN_DIR,
                               "/hone-rollout-worker --coordinator $(cat up-h/endpoint) --threads 1 --kv_memory_mib 1 "
                               "--page_tokens 256 2> up-small.log")};
  const auto small = Subprocess::Start(options);
  ASSERT_TRUE(small.ok()) << small.status();
  while (PidsOf("up-h", "rollout_worker").size() < 2) absl::SleepFor(absl::Milliseconds(20));
  // Held until the small one has been asked and has declined: else it might never be.
  ASSERT_EQ(kill(large[0], SIGSTOP), 0);
  const auto run = StartHone("with-small", "run tiny.yaml --set output_dir=up-out-h --wait --coordinator up-h");
  const auto declined = [] { return ReadFile("up-small.log").value_or("").find("declined") != std::string::npos; };
  while (!declined() && !run->Poll().has_value()) absl::SleepFor(absl::Milliseconds(5));
  ASSERT_EQ(kill(large[0], SIGCONT), 0);
  const Result result = FinishHone("with-small", run.get());
  EXPECT_EQ(result.exit, kExitOk) << result.err;
  EXPECT_THAT(*ReadFile("up-small.log"), HasSubstr("--kv_memory_mib=1: "));
  EXPECT_EQ(Summary("up-out-h")["weights_sha256"], Summary("up-out-g")["weights_sha256"]);
  EXPECT_EQ((*small)->Stop(absl::Seconds(20)), 0);
  EXPECT_EQ(Hone("down --state up-h").exit, kExitOk);
}

}  // namespace
}  // namespace hone::cli
