// The real `hone` program without a coordinator: arguments, messages, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "cli/exit_codes.h"
#include "cli/testing/run_hone.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Recipe(const std::string& name) { return absl::StrCat(HONE_SOURCE_DIR, "/recipes/", name); }

TEST(HoneCommand, HelpLeadsWithExamplesAndListsEveryCommand) {
  const Result help = Hone("help");
  EXPECT_EQ(help.exit, kExitOk);
  EXPECT_LT(help.out.find("Examples:"), help.out.find("Commands:"));
  for (const char* command :
       {"up",         "down",      "run",      "status",      "watch",    "samples", "metrics",
        "stop",       "pause",     "resume",   "export",      "generate", "serve",   "model import",
        "model hash", "data make", "data get", "data filter", "version",  "help"}) {
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("  ", command, " "))) << command;
    if (std::string(command) == "help") continue;
    const Result own = Hone(absl::StrCat(command, " --help"));
    EXPECT_EQ(own.exit, kExitOk) << command;
    EXPECT_THAT(own.out, StartsWith(absl::StrCat("Usage: hone ", command)));
    EXPECT_EQ(own.err, "");
    EXPECT_EQ(Hone(absl::StrCat("help ", command)).out, own.out);
  }
  for (const char* group : {"data", "model"}) {
    const Result own = Hone(absl::StrCat(group, " --help"));
    EXPECT_EQ(own.exit, kExitOk) << group;
    EXPECT_THAT(own.out, StartsWith(absl::StrCat("Usage: hone ", group, " COMMAND")));
    EXPECT_EQ(own.err, "");
    EXPECT_EQ(Hone(absl::StrCat("help ", group)).out, own.out);
    EXPECT_EQ(Hone(absl::StrCat(group, " -h")).out, own.out);
  }
  EXPECT_THAT(Hone("data --help").out, HasSubstr("  data get     fetch a public data set (gsm8k, svamp)\n"));
  EXPECT_THAT(help.out, HasSubstr("fetch a public data set (gsm8k, svamp)\n"));
  EXPECT_THAT(Hone("data get --help").out, HasSubstr("Known: gsm8k, svamp."));
  EXPECT_THAT(Hone("help exit-codes").out, HasSubstr("  4  unavailable"));
  EXPECT_EQ(Hone("").exit, kExitUsage);
  EXPECT_EQ(Hone("version").out, Hone("--version").out);
}

TEST(HoneCommand, TypingErrorsGetSuggestions) {
  const auto error = [](const std::string& words) {
    const Result result = Hone(words);
    EXPECT_EQ(result.exit, kExitUsage) << words;
    EXPECT_EQ(result.out, "");
    return result.err;
  };
  EXPECT_EQ(error("statsu"), "hone: 'statsu' is no command; did you mean 'hone status'?\n");
  EXPECT_EQ(error("frobnicate"), "hone: 'frobnicate' is no command; `hone help` lists them\n");
  EXPECT_EQ(error("data mkae"), "hone: 'data mkae' is no command; did you mean 'hone data make'?\n");
  EXPECT_EQ(error("data"), "hone: 'data' needs a second word; expected one of: make, get, filter\n");
  EXPECT_THAT(error("run --dry-rnu x.yaml"), HasSubstr("run: unknown flag --dry-rnu; did you mean --dry-run?"));
  EXPECT_THAT(error("run"), HasSubstr("run: expected FILE, got nothing"));
  EXPECT_THAT(error("run a b"), HasSubstr("run: expected FILE and nothing more, got 'b'"));
  EXPECT_THAT(error("status --output xml"), HasSubstr("--output: expected table or json, got 'xml'"));
  EXPECT_THAT(error("up --exit"), HasSubstr("up: --exit and --set need --run"));
  EXPECT_THAT(error("up --rollout_workers 0"), HasSubstr("--rollout_workers from 1 to 64"));
  EXPECT_EQ(error("up --kv_memory_mib 0"), "hone: up: --kv_memory_mib: expected at least 1, got 0\n");
  EXPECT_EQ(error("up --max_sequences -1"), "hone: up: --max_sequences: expected 1 to 65536, got -1\n");
  EXPECT_EQ(error("up --stall_seconds -1"), "hone: up: --stall_seconds: expected 0 (never) or more, got -1\n");
  EXPECT_THAT(error("run x.yaml --kv_memory_mib 64"), HasSubstr("--kv_memory_mib and --max_sequences need --dry-run"));
  EXPECT_THAT(error("export"), HasSubstr("expected --out DIR"));
}

TEST(HoneCommand, DryRunPrintsARunFileThatMeansTheSame) {
  const Result first = Hone("run --dry-run " + Recipe("quickstart.yaml"));
  ASSERT_EQ(first.exit, kExitOk) << first.err;
  EXPECT_THAT(first.out, StartsWith("# hash: "));
  EXPECT_THAT(first.out,
              HasSubstr("#   2. zero (rl, from stage 'base'): 80 steps of 32 prompts x 8 samples (20,480 rollouts"));
  EXPECT_THAT(first.out, HasSubstr("max_grad_norm: 1\n"));
  ASSERT_TRUE(WriteFileAtomic("dry-run.yaml", first.out).ok());
  EXPECT_EQ(Hone("run --dry-run dry-run.yaml").out, first.out);

  const Result changed = Hone("run --dry-run --set seed=1 --set stages.zero.rl.steps=20 " + Recipe("quickstart.yaml"));
  EXPECT_EQ(changed.exit, kExitOk) << changed.err;
  EXPECT_NE(changed.out.substr(0, 80), first.out.substr(0, 80));
  EXPECT_THAT(changed.out, HasSubstr("#   2. zero (rl, from stage 'base'): 20 steps"));
  const nlohmann::json json =
      nlohmann::json::parse(Hone("run --dry-run --output json " + Recipe("quickstart.yaml")).out);
  EXPECT_EQ(json["spec_hash"], first.out.substr(8, 64));
  EXPECT_THAT(json["memory_plan"]["unavailable"], HasSubstr("is not there yet"));
}

TEST(HoneCommand, DryRunPlansTheMemoryOfAModelThatIsThere) {
  ASSERT_TRUE(RemoveTree("cli-plan").ok());
  ASSERT_EQ(Hone("data make small-world --out cli-plan --pretrain_rows 10 --train_rows 20 --test_rows 5").exit,
            kExitOk);
  const std::string command = "run --dry-run --set model.path=cli-plan/model " + Recipe("quickstart.yaml");
  const Result planned = Hone(command);
  ASSERT_EQ(planned.exit, kExitOk) << planned.err;
  EXPECT_THAT(planned.out, HasSubstr("#   learner "));
  EXPECT_THAT(planned.out, HasSubstr("#   rollout worker "));
  EXPECT_THAT(planned.out, HasSubstr("available on this machine now: "));
  ASSERT_TRUE(WriteFileAtomic("cli-plan.yaml", planned.out).ok());
  EXPECT_EQ(Hone("run --dry-run cli-plan.yaml").exit, kExitOk) << "still a run file";
  const nlohmann::json plan = nlohmann::json::parse(Hone(command + " --output json").out)["memory_plan"];
  EXPECT_EQ(plan["unavailable"], "");
  EXPECT_EQ(plan["learner"]["parameters"], "499328");
  EXPECT_EQ(plan["learner"]["parts"][0]["name"], "masters");
  EXPECT_EQ(plan["learner"]["parts"][0]["bytes"], "1997312");
  const Result small = Hone(command + " --kv_memory_mib 3 --max_sequences 4");
  EXPECT_THAT(small.out, HasSubstr("kv cache              3.0 MiB  --kv_memory_mib 3, or less where that is enough\n"));
  EXPECT_THAT(small.out, HasSubstr("of a step with --max_sequences 4\n"));
}

TEST(HoneCommand, ARunWhoseCompletionsFillTheContextIsRefusedBeforeItStarts) {
  ASSERT_TRUE(RemoveTree("cli-room").ok());
  ASSERT_EQ(Hone("data make small-world --out cli-room --pretrain_rows 10 --train_rows 20 --test_rows 5").exit,
            kExitOk);
  const std::string run =
      Recipe("quickstart.yaml") + " --set model.path=cli-room/model --set stages.zero.rl.sampling.max_new_tokens=128";
  for (const char* command : {"run --dry-run ", "up --exit --state cli-room/state --run "}) {
    const Result refused = Hone(command + run);
    EXPECT_EQ(refused.exit, kExitInvalidInput) << command;
    EXPECT_THAT(refused.err, HasSubstr("stages[1].rl.sampling.max_new_tokens: expected at most 127, for the model's "
                                       "context has 128 tokens"))
        << command;
  }
  EXPECT_FALSE(FileExists("cli-room/state"));
}

TEST(HoneCommand, APieceThatIsNotBuiltInIsToldBeforeARunStarts) {
  const std::string run = Recipe("quickstart.yaml") + " --set stages.zero.rl.algorithm=";
  EXPECT_EQ(Hone("run --dry-run " + run + "'{custom_loss: {name: sapo}}'").exit, kExitOk);
  const Result refused = Hone("run --dry-run " + run + "'{custom_loss: {name: sappo}}'");
  EXPECT_EQ(refused.exit, kExitInvalidInput);
  EXPECT_EQ(refused.err, "hone: stages[1].rl.algorithm.custom_loss.name: 'sappo' is not built in; there are: sapo\n");
}

TEST(HoneCommand, EveryRecipeResolves) {
  int recipes = 0;
  for (const std::string folder : {"", "algorithms/"}) {
    const auto names = ListDirectory(absl::StrCat(HONE_SOURCE_DIR, "/recipes/", folder));
    ASSERT_TRUE(names.ok());
    for (const std::string& name : *names) {
      if (!name.ends_with(".yaml")) continue;
      ++recipes;
      const Result result = Hone("run --dry-run " + Recipe(folder + name));
      EXPECT_EQ(result.exit, kExitOk) << name << ": " << result.err;
    }
  }
  EXPECT_GE(recipes, 11);
}

TEST(HoneCommand, BadRunFilesNameThePlace) {
  ASSERT_TRUE(WriteFileAtomic("bad.yaml", "name: x\nstages:\n  - name: a\n    rl: {group_szie: 8}\n").ok());
  const Result result = Hone("up --run bad.yaml --exit");
  EXPECT_EQ(result.exit, kExitInvalidInput);
  EXPECT_EQ(result.err, "hone: bad.yaml:4:10: stages[0].rl.group_szie: unknown field; did you mean 'group_size'?\n");
  EXPECT_EQ(Hone("run absent.yaml --dry-run").exit, kExitNotFound);
  const Result override = Hone("run --dry-run --set stages.zero.rl.stepz=1 " + Recipe("quickstart.yaml"));
  EXPECT_EQ(override.exit, kExitInvalidInput);
  EXPECT_THAT(override.err, HasSubstr("stages[1].rl.stepz: unknown field; did you mean 'steps'?"));
}

TEST(HoneCommand, DataCommandsWriteFiles) {
  ASSERT_TRUE(RemoveTree("cli-world").ok());
  const Result made = Hone("data make small-world --out cli-world --pretrain_rows 10 --train_rows 20 --test_rows 5");
  EXPECT_EQ(made.exit, kExitOk) << made.err;
  EXPECT_EQ(made.out, "cli-world\n");
  for (const char* file :
       {"model/config.json", "model/tokenizer.json", "pretrain.jsonl", "train.jsonl", "test.jsonl"}) {
    EXPECT_TRUE(FileExists(absl::StrCat("cli-world/", file))) << file;
  }
  EXPECT_EQ(Hone("data make big-world --out x").exit, kExitNotFound);
  EXPECT_EQ(Hone("data make small-world").exit, kExitUsage);
  EXPECT_EQ(Hone("data get gsm8k --from cli-world --out cli-gsm8k").exit, kExitNotFound);
  EXPECT_EQ(Hone("data get gsm9k --out x").exit, kExitNotFound);
  EXPECT_EQ(Hone("data filter --data cli-world/train.jsonl --samples absent --out x").exit, kExitNotFound);
}

TEST(HoneCommand, ModelCommandsNameWhatIsMissing) {
  const Result import = Hone("model import absent.gguf --out cli-model");
  EXPECT_EQ(import.exit, kExitNotFound);
  EXPECT_THAT(import.err, HasSubstr("absent.gguf"));
  EXPECT_EQ(Hone("model hash absent-folder").exit, kExitNotFound);
}

TEST(HoneCommand, WithoutACoordinatorItSaysWhatToDo) {
  const Result none = Hone("status");
  EXPECT_EQ(none.exit, kExitUnavailable);
  EXPECT_THAT(none.err, HasSubstr("Start one with `hone up`"));
  const Result dead = Hone("status --coordinator 127.0.0.1:1");
  EXPECT_EQ(dead.exit, kExitUnavailable);
  EXPECT_THAT(dead.err, HasSubstr("the coordinator at 127.0.0.1:1 cannot be reached"));
  EXPECT_EQ(Hone("down --state cli-nowhere").exit, kExitNotFound);
}

}  // namespace
}  // namespace hone::cli
