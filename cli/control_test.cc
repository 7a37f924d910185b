// The real `hone` program's commands against a control service that plays a run.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/files.h"
#include "cli/exit_codes.h"
#include "cli/testing/run_hone.h"
#include "hone/v1/control.grpc.pb.h"
#include "rpc/server.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string Recipe(const std::string& name) { return absl::StrCat(HONE_SOURCE_DIR, "/recipes/", name); }

// Samples asked for at this step could not be scored.
constexpr int kUnscorableStep = 7;

// Plays one run, "demo", that advances by a step with each update and ends in `final_state`.
class PlayedControl final : public v1::ControlService::Service {
 public:
  explicit PlayedControl(v1::RunState final_state) : final_state_(final_state) {}

  grpc::Status CreateRun(grpc::ServerContext*, const v1::CreateRunRequest* request, v1::Run* response) override {
    std::lock_guard lock(mutex_);
    created_.push_back(*request);
    if (std::exchange(refuse_create_, false)) return {grpc::StatusCode::ALREADY_EXISTS, "of another run"};
    *response = RunAt(0);
    const bool goes_on = first_state_ == v1::RUN_STATE_RUNNING || first_state_ == v1::RUN_STATE_QUEUED;
    if (request->spec().stages(0).has_export_() && goes_on) {
      response->set_name("runs/" + request->spec().name());
      response->set_state(first_state_);
      if (!exports_.insert(request->request_id()).second) {
        response->set_state(v1::RUN_STATE_SUCCEEDED);
      } else {
        WriteExport(request->spec().stages(0).export_().path());
      }
    } else {
      response->set_state(first_state_);
    }
    last_export_ = request->spec().stages(0).export_().path();
    return grpc::Status::OK;
  }
  grpc::Status ResumeRun(grpc::ServerContext*, const v1::ResumeRunRequest*, v1::Run* response) override {
    std::lock_guard lock(mutex_);
    *response = RunAt(0);
    if (!last_export_.empty()) WriteExport(last_export_);
    return grpc::Status::OK;
  }
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::Run* response) override {
    if (request->name() != "runs/demo") return {grpc::StatusCode::NOT_FOUND, "no run '" + request->name() + "'"};
    *response = RunAt(2);
    return grpc::Status::OK;
  }
  grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override {
    // Two pages: the second holds the run that is at work.
    if (request->page_token().empty()) {
      *response->add_runs() = RunAt(3);
      response->mutable_runs(0)->set_name("runs/older");
      // Newer than all others, but nobody follows an export.
      v1::Run* exported = response->add_runs();
      *exported = RunAt(3);
      exported->set_name("runs/export-0");
      exported->mutable_create_time()->set_seconds(200);
      exported->clear_stages();
      exported->add_stages()->set_kind("export");
      response->set_next_page_token("2");
    } else {
      *response->add_runs() = RunAt(2);
      response->mutable_runs(0)->set_state(listed_state_);
    }
    return grpc::Status::OK;
  }
  grpc::Status WatchRun(grpc::ServerContext*, const v1::WatchRunRequest*,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    {
      // The first stream breaks: the watcher must come back.
      std::lock_guard lock(mutex_);
      if (watches_++ == 0) return {grpc::StatusCode::UNAVAILABLE, "going down"};
      // Then its disk is full for a while.
      if (watches_ <= 3) return {grpc::StatusCode::RESOURCE_EXHAUSTED, "journal: No space left on device"};
    }
    for (int step = 0; step <= 3; ++step) {
      v1::WatchRunResponse response;
      *response.mutable_run() = RunAt(step);
      writer->Write(response);
    }
    return grpc::Status::OK;
  }
  grpc::Status StopRun(grpc::ServerContext*, const v1::StopRunRequest* request, v1::Run* response) override {
    if (request->name() != "runs/demo") return {grpc::StatusCode::NOT_FOUND, "no such run"};
    return {grpc::StatusCode::FAILED_PRECONDITION,
            "run 'demo' is succeeded: only a run that is not at its end can be stopped"};
    (void)response;
  }
  grpc::Status PauseRun(grpc::ServerContext*, const v1::PauseRunRequest* request, v1::Run* response) override {
    std::lock_guard lock(mutex_);
    paused_ = request->name();
    *response = RunAt(2);
    response->set_state(v1::RUN_STATE_PAUSED);
    return grpc::Status::OK;
  }
  grpc::Status ListSamples(grpc::ServerContext*, const v1::ListSamplesRequest* request,
                           v1::ListSamplesResponse* response) override {
    const int first = request->page_token().empty() ? 0 : std::stoi(request->page_token());
    constexpr int kSamples = 250;  // more than a page
    for (int i = first; i < kSamples && i < first + request->page_size(); ++i) {
      v1::Sample* sample = response->add_samples();
      sample->set_stage(request->has_stage() ? request->stage() : "zero");
      sample->set_prompt_id(absl::StrCat("p", i));
      sample->set_prompt("1 + 2 =");
      sample->mutable_trajectory()->set_text("<answer> 3 </answer>");
      v1::RewardComponent* component = sample->mutable_trajectory()->mutable_verdict()->add_components();
      component->set_name("accuracy");
      component->set_state(v1::REWARD_STATE_SCORED);
      component->set_value(i % 2);
      if (request->step() != kUnscorableStep) continue;
      sample->mutable_trajectory()->mutable_verdict()->set_state(v1::REWARD_STATE_UNSCORABLE);
      component->set_state(v1::REWARD_STATE_UNSCORABLE);
      component->set_value(0);
      component->set_reason("no answer to compare with");
    }
    if (first + request->page_size() < kSamples) {
      response->set_next_page_token(absl::StrCat(first + request->page_size()));
    }
    return grpc::Status::OK;
  }
  grpc::Status ListMetrics(grpc::ServerContext*, const v1::ListMetricsRequest* request,
                           v1::ListMetricsResponse* response) override {
    if (!request->has_stage() || request->stage() == "base") {
      v1::StepMetrics* row = response->add_metrics();
      row->set_stage("base");
      row->set_step(1);
      (*row->mutable_values())["loss"] = 2;
    }
    if (request->has_stage() && request->stage() != "zero") return grpc::Status::OK;
    for (int step = 1; step <= 3; ++step) {
      v1::StepMetrics* row = response->add_metrics();
      row->set_stage("zero");
      row->set_step(step);
      (*row->mutable_values())["reward/mean"] = 0.5 * step;
    }
    return grpc::Status::OK;
  }
  grpc::Status ListMembers(grpc::ServerContext*, const v1::ListMembersRequest*,
                           v1::ListMembersResponse* response) override {
    v1::Member* member = response->add_members();
    member->set_role("learner");
    member->set_address("127.0.0.1:7");
    v1::Member* worker = response->add_members();
    worker->set_role("rollout_worker");
    worker->set_name("host:8");
    worker->set_address("127.0.0.1:8");
    worker->set_leased_groups(4);
    (*worker->mutable_gauges())["tokens_per_s"] = 1234.5;
    (*worker->mutable_gauges())["kv_use"] = 0.125;
    (*worker->mutable_gauges())["preemptions"] = 99;
    return grpc::Status::OK;
  }

  // The state in which CreateRun answers, and that of "demo" in the list.
  void refuse_next_create() {
    std::lock_guard lock(mutex_);
    refuse_create_ = true;
  }
  void set_first_state(v1::RunState state) { first_state_ = state; }
  void set_listed_state(v1::RunState state) { listed_state_ = state; }

  std::string paused() {
    std::lock_guard lock(mutex_);
    return paused_;
  }
  std::vector<v1::CreateRunRequest> created() {
    std::lock_guard lock(mutex_);
    return created_;
  }

 private:
  static void WriteExport(const std::string& folder) {
    HONE_CHECK_OK(CreateDirectories(folder));
    HONE_CHECK_OK(WriteFileAtomic(folder + "/config.json", "{}"));
    HONE_CHECK_OK(WriteFileAtomic(folder + "/model.safetensors", "weights"));
  }
  v1::Run RunAt(int step) const {
    v1::Run run;
    run.set_name("runs/demo");
    run.set_state(step < 3 ? v1::RUN_STATE_RUNNING : final_state_);
    run.set_output_dir("cli-demo");
    run.mutable_create_time()->set_seconds(100);
    if (run.state() == v1::RUN_STATE_FAILED) run.set_error("the model folder is gone");
    run.mutable_spec()->mutable_numerics()->set_dtype(v1::DTYPE_BF16);
    v1::StageProgress* base = run.add_stages();
    base->set_name("base");
    base->set_kind("pretrain");
    base->set_finished(true);
    v1::Checkpoint* earlier = base->add_checkpoints();
    earlier->set_step(7);
    earlier->set_path("/learner/base/7");
    base->set_result_path("/learner/base/7");
    v1::StageProgress* stage = run.add_stages();
    stage->set_name("zero");
    stage->set_kind("rl");
    stage->set_steps_done(step);
    stage->set_steps_total(3);
    for (const int kept : {2, 3}) {
      v1::Checkpoint* checkpoint = stage->add_checkpoints();
      checkpoint->set_step(kept);
      checkpoint->set_path(absl::StrCat("/learner/zero/", kept));
    }
    stage->set_result_path("/learner/zero/2");
    (*base->mutable_latest_metrics())["loss"] = 3.5;
    (*stage->mutable_latest_metrics())["loss"] = 0.25;
    return run;
  }

  const v1::RunState final_state_;
  std::atomic<v1::RunState> first_state_ = v1::RUN_STATE_RUNNING;
  std::atomic<v1::RunState> listed_state_ = v1::RUN_STATE_RUNNING;
  std::mutex mutex_;
  std::set<std::string> exports_;  // request ids that were carried out
  std::string last_export_;
  std::string paused_;
  std::vector<v1::CreateRunRequest> created_;
  int watches_ = 0;
  bool refuse_create_ = false;
};

struct Played {
  explicit Played(v1::RunState final_state) : service(final_state) {
    auto started = RpcServer::Start({"127.0.0.1:0", ""}, {&service});
    EXPECT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
  }
  Result Hone(const std::string& words) { return cli::Hone(words, {{"HONE_COORDINATOR", server->address()}}); }
  PlayedControl service;
  std::unique_ptr<RpcServer> server;
};

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
