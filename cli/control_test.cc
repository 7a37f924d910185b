// The real `hone` program's commands against a control service that plays a run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "cli/exit_codes.h"
#include "cli/testing/played_control.h"
#include "cli/testing/run_hone.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string Recipe(const std::string& name) { return absl::StrCat(HONE_SOURCE_DIR, "/recipes/", name); }

TEST(HoneControl, ARunThatSucceedsExitsWithZeroAndATable) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  ASSERT_TRUE(CreateDirectories("cli-demo").ok());
  ASSERT_TRUE(WriteFileAtomic("cli-demo/summary.json", "{\"pass_at_1_before\": 0.25, \"pass_at_1_after\": 0.75}").ok());
  const Result result = played.Hone("run --wait " + Recipe("quickstart.yaml"));
  EXPECT_EQ(result.exit, kExitOk) << result.err;
  EXPECT_THAT(result.out, HasSubstr("pass@1  25.0 %  75.0 %"));
  EXPECT_THAT(result.err, HasSubstr("run 'demo' succeeded"));
  EXPECT_EQ(result.err.find('\r'), std::string::npos) << "carriage returns are for terminals";
  ASSERT_EQ(played.service.created().size(), 1u);
  EXPECT_EQ(played.service.created()[0].spec().stages(1).rl().max_prompt_tokens(), 0);
  EXPECT_THAT(played.service.created()[0].request_id(), StartsWith("hone-run/"));

  const Result started = played.Hone("run " + Recipe("quickstart.yaml"));
  EXPECT_EQ(started.out, "runs/demo\n");
}

TEST(HoneControl, AFullDiskOfTheCoordinatorIsWaitedForAndToldOnce) {
  const Result result = Played(v1::RUN_STATE_SUCCEEDED).Hone("watch demo");
  EXPECT_EQ(result.exit, kExitOk) << result.err;
  const size_t told = result.err.find("No space left on device; trying again");
  ASSERT_NE(told, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("No space left", told + 1), std::string::npos) << result.err;
}

TEST(HoneControl, ARunThatEndedBeforeIsNotSilent) {
  Played played(v1::RUN_STATE_FAILED);
  for (const auto state : {v1::RUN_STATE_SUCCEEDED, v1::RUN_STATE_STOPPED, v1::RUN_STATE_FAILED}) {
    played.service.set_first_state(state);
    const Result result = played.Hone("run " + Recipe("quickstart.yaml"));
    EXPECT_EQ(result.exit, state == v1::RUN_STATE_FAILED ? kExitFailed : kExitOk) << result.err;
    EXPECT_EQ(result.out, "runs/demo\n");
    EXPECT_THAT(result.err, HasSubstr("run 'demo' of this file is there already and "));
    EXPECT_THAT(result.err, HasSubstr("another name or seed"));
    EXPECT_EQ(result.err.find("hone resume demo") != std::string::npos, state != v1::RUN_STATE_SUCCEEDED);
  }
}

TEST(HoneControl, AnExportIsMadeAgainWhereItsFolderIsGone) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  const std::string out = std::filesystem::current_path().string() + "/cli-exported";
  ASSERT_TRUE(RemoveTree(out).ok());
  const std::string words = "export --from_checkpoint cli-step --out ./cli-exported/";
  for (int time = 0; time < 3; ++time) {
    const Result result = played.Hone(words);
    EXPECT_EQ(result.exit, kExitOk) << result.err;
    EXPECT_EQ(result.out, out + "\n");
    EXPECT_TRUE(FileExists(out + "/model.safetensors")) << "time " << time;
    ASSERT_TRUE(RemoveTree(out).ok());
  }
  const v1::StageSpec stage = played.service.created()[0].spec().stages(0);
  EXPECT_EQ(stage.export_().path(), out);
  EXPECT_EQ(stage.from_checkpoint(), std::filesystem::current_path().string() + "/cli-step");
  // One that was stopped goes on.
  played.service.set_first_state(v1::RUN_STATE_STOPPED);
  EXPECT_EQ(played.Hone(words).exit, kExitOk);
  EXPECT_TRUE(FileExists(out + "/model.safetensors"));
  EXPECT_EQ(played.Hone(words).exit, kExitRefused) << "there are files in it";
}

// The folder that the export's run would write to is there already, of a coordinator whose state is gone.
TEST(HoneControl, AnExportWhoseRunHasAFolderOfBeforeGetsAnother) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  ASSERT_TRUE(RemoveTree("cli-refused").ok());
  played.service.refuse_next_create();
  const Result result = played.Hone("export demo --out cli-refused");
  EXPECT_EQ(result.exit, kExitOk) << result.err;
  const auto created = played.service.created();
  ASSERT_EQ(created.size(), 2u);
  EXPECT_NE(created[0].request_id(), created[1].request_id());
  EXPECT_NE(created[0].spec().name(), created[1].spec().name());
}

TEST(HoneControl, AnExportTakesTheCheckpointThatTheCoordinatorNames) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  const auto exported = [&played](const std::string& words) {
    EXPECT_TRUE(RemoveTree("cli-chosen").ok());
    const Result result = played.Hone("export demo --out cli-chosen " + words);
    EXPECT_EQ(result.exit, kExitOk) << result.err;
    return played.service.created().back().spec().stages(0).from_checkpoint();
  };
  // The best, not the newest; and on the learner's disk, whatever is on this one.
  EXPECT_EQ(exported(""), "/learner/zero/2");
  EXPECT_EQ(exported("--stage zero --step 3"), "/learner/zero/3");
  ASSERT_TRUE(RemoveTree("cli-chosen").ok());
  const Result absent = played.Hone("export demo --out cli-chosen --step 7");
  EXPECT_EQ(absent.exit, kExitNotFound);
  // Not that of an earlier stage, which happens to have one.
  EXPECT_THAT(absent.err, HasSubstr("runs/demo has no checkpoint of stage 'zero' at step 7; kept: 2, 3"));
  EXPECT_EQ(exported("--stage base --step 7"), "/learner/base/7");
}

TEST(HoneControl, AnExportThatWaitsSaysForWhat) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  ASSERT_TRUE(RemoveTree("cli-waited").ok());
  EXPECT_THAT(played.Hone("export --from_checkpoint cli-step --out cli-waited").err,
              Not(HasSubstr("waiting for the learner")))
      << "it begins at once";
  ASSERT_TRUE(RemoveTree("cli-waited").ok());
  played.service.set_first_state(v1::RUN_STATE_QUEUED);
  const Result waited = played.Hone("export --from_checkpoint cli-other --out cli-waited");
  EXPECT_EQ(waited.exit, kExitOk) << waited.err;
  EXPECT_EQ(waited.err, "hone: waiting for the learner: runs/demo (running) comes first\n");
}

TEST(HoneControl, AnExportHasTheDtypeOfTheCheckpointsRun) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  ASSERT_TRUE(RemoveTree("cli-typed").ok());
  ASSERT_TRUE(CreateDirectories("cli-typed/checkpoints/zero/step-000002").ok());
  ASSERT_TRUE(WriteFileAtomic("cli-typed/run.yaml",
                              Hone("run --dry-run --set numerics.dtype=bf16 " + Recipe("quickstart.yaml")).out)
                  .ok());
  const auto exported = [&played](const std::string& words) {
    EXPECT_TRUE(RemoveTree("cli-typed-out").ok());
    const Result result = played.Hone("export --out cli-typed-out --from_checkpoint " + words);
    EXPECT_EQ(result.exit, kExitOk) << result.err;
    return played.service.created().back().spec().stages(0).export_().dtype();
  };
  EXPECT_EQ(exported("cli-typed/checkpoints/zero/step-000002"), v1::DTYPE_BF16);
  EXPECT_EQ(exported("cli-typed/checkpoints/zero/step-000002/ --dtype fp32"), v1::DTYPE_FP32);
  EXPECT_EQ(exported("cli-typed/checkpoints/zero/step-000002/"), v1::DTYPE_BF16);
  EXPECT_EQ(exported("cli-elsewhere"), v1::DTYPE_FP32) << "no run.yaml above it";
  ASSERT_TRUE(WriteFileAtomic("cli-typed/run.yaml", "numerics: {dtype: fp8}\n").ok());
  const Result unreadable =
      played.Hone("export --out cli-new --from_checkpoint cli-typed/checkpoints/zero/step-000002");
  EXPECT_EQ(unreadable.exit, kExitInvalidInput);
  EXPECT_THAT(unreadable.err, HasSubstr("give --dtype"));
}

TEST(HoneControl, WithoutANameTheRunThatIsAtWorkIsMeant) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  for (const auto state : {v1::RUN_STATE_RUNNING, v1::RUN_STATE_PAUSED, v1::RUN_STATE_STOPPING, v1::RUN_STATE_QUEUED}) {
    played.service.set_listed_state(state);
    EXPECT_EQ(played.Hone("pause").out, "runs/demo paused\n") << state;
    EXPECT_EQ(played.service.paused(), "runs/demo") << state;
  }
  played.service.set_listed_state(v1::RUN_STATE_SUCCEEDED);
  EXPECT_EQ(played.Hone("pause").exit, kExitOk);
  EXPECT_NE(played.service.paused(), "runs/export-0");
}

TEST(HoneControl, TheExitCodeIsTheRuns) {
  Played failed(v1::RUN_STATE_FAILED);
  const Result result = failed.Hone("watch demo");
  EXPECT_EQ(result.exit, kExitFailed);
  EXPECT_THAT(result.err, HasSubstr("run 'demo' failed: the model folder is gone"));
  Played stopped(v1::RUN_STATE_STOPPED);
  EXPECT_EQ(stopped.Hone("watch").exit, kExitStopped);
  const Result json = Played(v1::RUN_STATE_SUCCEEDED).Hone("watch demo --output json");
  std::istringstream lines(json.out);
  int updates = 0;
  for (std::string line; std::getline(lines, line); ++updates) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_EQ(updates, 4);
}

TEST(HoneControl, StatusShowsRunsAndProcesses) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  const Result all = played.Hone("status");
  EXPECT_EQ(all.exit, kExitOk) << all.err;
  EXPECT_THAT(all.out, HasSubstr("older"));
  EXPECT_THAT(all.out, HasSubstr("demo      running    zero   2/3"));
  EXPECT_THAT(all.out, HasSubstr("groups  tokens/s  kv use\n"));
  EXPECT_THAT(all.out, HasSubstr("learner                 127.0.0.1:7  0.0s ago  0\n"))
      << "nothing where there is none";
  EXPECT_THAT(all.out, HasSubstr("rollout_worker  host:8  127.0.0.1:8  0.0s ago  4       1,235     12.5 %\n"));
  const nlohmann::json json = nlohmann::json::parse(played.Hone("status --output json").out);
  EXPECT_EQ(json["runs"].size(), 3u);
  EXPECT_EQ(json["members"][0]["role"], "learner");
  const Result one = played.Hone("status demo");
  EXPECT_THAT(one.out, HasSubstr("zero   rl        2/3    running"));
  // Figures of the same name, of two stages.
  EXPECT_THAT(one.out, HasSubstr("base   loss       3.5\n"));
  EXPECT_THAT(one.out, HasSubstr("zero   loss      0.25\n"));
  const Result wrong = played.Hone("status dmeo");
  EXPECT_EQ(wrong.exit, kExitNotFound);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean 'demo'?"));
}

TEST(HoneControl, RefusalsAreExitCodeSix) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  const Result stop = played.Hone("stop demo");
  EXPECT_EQ(stop.exit, kExitRefused);
  EXPECT_THAT(stop.err, HasSubstr("run 'demo' is succeeded"));
  EXPECT_EQ(played.Hone("pause").out, "runs/demo paused\n");
  EXPECT_EQ(played.Hone("resume").exit, kExitUsage);
}

TEST(HoneControl, SamplesAndMetricsPage) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  const Result five = played.Hone("samples demo");
  EXPECT_EQ(five.exit, kExitOk) << five.err;
  EXPECT_THAT(five.out, HasSubstr("<answer> 3 </answer>\nreward 0: accuracy 1\n"));
  const Result all = played.Hone("samples demo --all --stage zero --output json");
  std::istringstream lines(all.out);
  std::set<std::string> ids;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json sample = nlohmann::json::parse(line);
    EXPECT_EQ(sample["stage"], "zero");
    ids.insert(sample["prompt_id"].get<std::string>());
  }
  EXPECT_EQ(ids.size(), 250u);
  EXPECT_EQ(played.Hone("samples --purpose both").exit, kExitUsage);

  EXPECT_EQ(played.Hone("metrics demo --last 2").out,
            "stage  step  reward/mean\nzero      2            1\nzero      3          1.5\n");
  // That of another stage is an empty column, not an error.
  EXPECT_EQ(played.Hone("metrics demo --stage zero --columns loss --last 1").out, "stage  step  loss\nzero      3\n");
  EXPECT_EQ(played.Hone("metrics demo --stage zero --columns reward/mean,loss --last 1 --output json").out,
            "{\"stage\":\"zero\",\"step\":3,\"values\":{\"reward/mean\":1.5}}\n");
  EXPECT_EQ(played.Hone("metrics demo --stage zero --columns loss --last 1 --output json").out,
            "{\"stage\":\"zero\",\"step\":3,\"values\":{}}\n");
  EXPECT_EQ(played.Hone("metrics demo --columns loss,reward/mean --last 4").out,
            "stage  step  loss  reward/mean\nbase      1     2\nzero      1                0.5\n"
            "zero      2                  1\nzero      3                1.5\n");
}

TEST(HoneControl, UnscorableIsNotARewardOfZero) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  EXPECT_THAT(played.Hone(absl::StrCat("samples demo --limit 1 --step ", kUnscorableStep)).out,
              HasSubstr("\nreward unscorable: accuracy unscorable (no answer to compare with)\n"));
}

TEST(HoneControl, MisspeltStagesAndColumnsAreNotFound) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  for (const char* words : {"samples demo --stage zeor", "metrics demo --stage zeor --output json",
                            "export demo --stage zeor --out cli-export-misspelt"}) {
    const Result wrong = played.Hone(words);
    EXPECT_EQ(wrong.exit, kExitNotFound) << words;
    EXPECT_EQ(wrong.out, "");
    EXPECT_EQ(wrong.err, "hone: runs/demo has no stage 'zeor'; did you mean 'zero'?\n") << words;
  }
  EXPECT_EQ(played.Hone("metrics demo --stage warm-up").err,
            "hone: runs/demo has no stage 'warm-up'; its stages: base, zero\n");
  const Result column = played.Hone("metrics demo --columns reward/maen");
  EXPECT_EQ(column.exit, kExitNotFound);
  EXPECT_EQ(column.out, "");
  EXPECT_EQ(column.err,
            "hone: --columns: no step of runs/demo has a metric 'reward/maen'; did you mean 'reward/mean'?\n");
  EXPECT_THAT(played.Hone("metrics demo --columns nonsense").err, HasSubstr("`--output json` shows them all"));
  for (const char* words : {"metrics demo --last -5", "samples demo --step -5", "export demo --step -5 --out x"})
    EXPECT_EQ(played.Hone(words).exit, kExitUsage) << words;
}

TEST(HoneControl, SamplesFeedTheFilter) {
  Played played(v1::RUN_STATE_SUCCEEDED);
  ASSERT_TRUE(WriteFileAtomic("cli-samples.jsonl", played.Hone("samples demo --all --output json").out).ok());
  ASSERT_TRUE(WriteFileAtomic("cli-problems.jsonl", "{\"id\":\"p0\"}\n{\"id\":\"p1\"}\n").ok());
  const Result filter = Hone(
      "data filter --data cli-problems.jsonl --samples cli-samples.jsonl --min_pass 0.5 --max_pass 1 --out "
      "cli-kept.jsonl");
  EXPECT_EQ(filter.exit, kExitOk) << filter.err;
  EXPECT_EQ(*ReadFile("cli-kept.jsonl"), "{\"id\":\"p1\"}\n");
  EXPECT_EQ(filter.err, "hone: 2 of 2 problems measured (250 samples, mean pass rate 0.500), 1 kept\n");
}

}  // namespace
}  // namespace hone::cli
