#include "cli/testing/played_control.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/files.h"

namespace hone::cli {
namespace {

void WriteExport(const std::string& folder) {
  HONE_CHECK_OK(CreateDirectories(folder));
  HONE_CHECK_OK(WriteFileAtomic(folder + "/config.json", "{}"));
  HONE_CHECK_OK(WriteFileAtomic(folder + "/model.safetensors", "weights"));
}

}  // namespace

void PlayedControl::refuse_next_create() {
  std::lock_guard lock(mutex_);
  refuse_create_ = true;
}

std::string PlayedControl::paused() {
  std::lock_guard lock(mutex_);
  return paused_;
}

std::vector<v1::CreateRunRequest> PlayedControl::created() {
  std::lock_guard lock(mutex_);
  return created_;
}

grpc::Status PlayedControl::CreateRun(grpc::ServerContext*, const v1::CreateRunRequest* request, v1::Run* response) {
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

grpc::Status PlayedControl::ResumeRun(grpc::ServerContext*, const v1::ResumeRunRequest*, v1::Run* response) {
  std::lock_guard lock(mutex_);
  *response = RunAt(0);
  if (!last_export_.empty()) WriteExport(last_export_);
  return grpc::Status::OK;
}

grpc::Status PlayedControl::GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::Run* response) {
  if (request->name() != "runs/demo") return {grpc::StatusCode::NOT_FOUND, "no run '" + request->name() + "'"};
  *response = RunAt(2);
  return grpc::Status::OK;
}

grpc::Status PlayedControl::ListRuns(grpc::ServerContext*, const v1::ListRunsRequest* request,
                                     v1::ListRunsResponse* response) {
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

grpc::Status PlayedControl::WatchRun(grpc::ServerContext*, const v1::WatchRunRequest*,
                                     grpc::ServerWriter<v1::WatchRunResponse>* writer) {
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

grpc::Status PlayedControl::StopRun(grpc::ServerContext*, const v1::StopRunRequest* request, v1::Run* response) {
  if (request->name() != "runs/demo") return {grpc::StatusCode::NOT_FOUND, "no such run"};
  return {grpc::StatusCode::FAILED_PRECONDITION,
          "run 'demo' is succeeded: only a run that is not at its end can be stopped"};
  (void)response;
}

grpc::Status PlayedControl::PauseRun(grpc::ServerContext*, const v1::PauseRunRequest* request, v1::Run* response) {
  std::lock_guard lock(mutex_);
  paused_ = request->name();
  *response = RunAt(2);
  response->set_state(v1::RUN_STATE_PAUSED);
  return grpc::Status::OK;
}

grpc::Status PlayedControl::ListSamples(grpc::ServerContext*, const v1::ListSamplesRequest* request,
                                        v1::ListSamplesResponse* response) {
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

grpc::Status PlayedControl::ListMetrics(grpc::ServerContext*, const v1::ListMetricsRequest* request,
                                        v1::ListMetricsResponse* response) {
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

grpc::Status PlayedControl::ListMembers(grpc::ServerContext*, const v1::ListMembersRequest*,
                                        v1::ListMembersResponse* response) {
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

v1::Run PlayedControl::RunAt(int step) const {
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

Played::Played(v1::RunState final_state) : service(final_state) {
  auto started = RpcServer::Start({"127.0.0.1:0", ""}, {&service});
  EXPECT_TRUE(started.ok()) << started.status();
  server = *std::move(started);
}

Result Played::Hone(const std::string& words) { return cli::Hone(words, {{"HONE_COORDINATOR", server->address()}}); }

}  // namespace hone::cli
