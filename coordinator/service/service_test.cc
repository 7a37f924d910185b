// The coordinator behind real gRPC on loopback, with a learner, workers and a reward server that have no models
// (cluster_fakes.h).
#include <grpcpp/channel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "coordinator/run_config/yaml_reader.h"
#include "coordinator/service/cluster_fakes.h"
#include "coordinator/service/services.h"
#include "hone/v1/control.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"

namespace hone::coordinator {
namespace {

constexpr char kRun[] = R"(
name: demo
seed: 7
model: {path: model}
datasets:
  train: {sources: [{path: train.jsonl}]}
  held_out: {sources: [{path: held_out.jsonl}]}
stages:
  - name: base
    pretrain: {dataset: train, steps: 3, optimizer: {learning_rate: 0.001}}
  - name: zero
    rl:
      dataset: train
      steps: 5
      prompts_per_step: 4
      group_size: 2
      rewards: [{accuracy: {}}]
      optimizer: {learning_rate: 0.001}
      evaluate: {every_steps: 2, evaluation: {dataset: held_out, samples: 2}}
  - name: final
    evaluate: {evaluation: {dataset: held_out, samples: 3}}
  - name: copy
    export: {}
)";

class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::current_path().string() + "/service_test." + std::to_string(getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    ASSERT_TRUE(CreateDirectories(directory_).ok());
    std::string train;
    for (int i = 0; i < 6; ++i)
      train += "{\"prompt\": \"p" + std::to_string(i) + "\", \"answer\": " + std::to_string(i) + "}\n";
    ASSERT_TRUE(WriteFileAtomic(directory_ + "/train.jsonl", train).ok());
    ASSERT_TRUE(
        WriteFileAtomic(directory_ + "/held_out.jsonl", "{\"prompt\": \"q\", \"answer\": 1}\n{\"prompt\": \"r\"}\n")
            .ok());
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(directory_).ok()); }

  // The coordinator in this process.
  struct Server {
    std::unique_ptr<Coordinator> coordinator;
    std::unique_ptr<grpc::Service> control;
    std::unique_ptr<grpc::Service> members;
    std::unique_ptr<RpcServer> server;
    ~Server() { Stop(); }
    void Stop() {
      if (coordinator != nullptr) coordinator->Close();
      if (server != nullptr) server->Shutdown(absl::ZeroDuration());
      server.reset();
      coordinator.reset();
    }
  };
  absl::StatusOr<std::unique_ptr<Server>> StartServer(const std::string& listen) {
    auto server = std::make_unique<Server>();
    Coordinator::Options options;
    options.state_directory = directory_ + "/state";
    options.working_directory = directory_;
    options.tick_interval = absl::Milliseconds(50);
    options.core.decline_grace = decline_grace_;
    HONE_ASSIGN_OR_RETURN(server->coordinator, Coordinator::Start(options));
    server->control = MakeControlService(server->coordinator.get());
    server->members = MakeCoordinatorService(server->coordinator.get());
    RpcServer::Options rpc;
    rpc.listen = listen;
    HONE_ASSIGN_OR_RETURN(server->server, RpcServer::Start(rpc, {server->control.get(), server->members.get()}));
    address_ = server->server->address();
    return server;
  }
  // A coordinator that knows of nothing but the demo run, just created.
  absl::StatusOr<std::unique_ptr<Server>> StartAfresh() {
    HONE_RETURN_IF_ERROR(RemoveTree(directory_ + "/state"));
    HONE_RETURN_IF_ERROR(RemoveTree(directory_ + "/runs"));
    HONE_ASSIGN_OR_RETURN(auto server, StartServer("127.0.0.1:0"));
    HONE_RETURN_IF_ERROR(CreateDemo());
    return server;
  }
  std::unique_ptr<v1::ControlService::Stub> Control() { return v1::ControlService::NewStub(CreateChannel(address_)); }
  v1::CreateRunRequest DemoRequest() {
    v1::CreateRunRequest request;
    const auto spec = ParseRunYaml(kRun, "demo.yaml");
    EXPECT_TRUE(spec.ok()) << spec.status();
    *request.mutable_spec() = *spec;
    request.set_request_id("one");
    return request;
  }
  absl::Status CreateDemo() {
    // Again and again while nobody answers: the request id makes it one run.
    while (true) {
      grpc::ClientContext context;
      v1::Run run;
      const grpc::Status status = Control()->CreateRun(&context, DemoRequest(), &run);
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return FromGrpc(status);
    }
  }
  v1::Run Get() {
    grpc::ClientContext context;
    v1::GetRunRequest request;
    request.set_name("runs/demo");
    v1::Run run;
    const grpc::Status status = Control()->GetRun(&context, request, &run);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return run;
  }
  // Follows the run until it has ended; all metrics that were streamed.
  std::vector<v1::StepMetrics> WatchToTheEnd(v1::Run* last) {
    grpc::ClientContext context;
    v1::WatchRunRequest request;
    request.set_name("demo");
    const auto stub = Control();
    const auto reader = stub->WatchRun(&context, request);
    std::vector<v1::StepMetrics> metrics;
    v1::WatchRunResponse response;
    while (reader->Read(&response)) {
      *last = response.run();
      metrics.insert(metrics.end(), response.new_metrics().begin(), response.new_metrics().end());
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return metrics;
  }
  // The hash that the run's final rl weights have when nothing goes wrong.
  std::string FinalHash(FakeDisk& disk) {
    const std::lock_guard lock(disk.mutex);
    return disk.hash_by_path[directory_ + "/runs/demo/checkpoints/zero/5"];
  }

  std::string directory_;
  std::string address_;
  absl::Duration decline_grace_ = CoreOptions().decline_grace;
};

TEST_F(ServiceTest, CarriesARunToItsEndAndShowsIt) {
  auto server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_TRUE(CreateDemo().ok());
  ASSERT_TRUE(CreateDemo().ok());  // the same request id: the same run
  FakeDisk disk;
  FakeRewardServer reward(address_);
  FakeWorker one(address_, "w1");
  FakeWorker two(address_, "w2");
  FakeLearner learner(address_, &disk);
  v1::Run run;
  const std::vector<v1::StepMetrics> metrics = WatchToTheEnd(&run);
  EXPECT_EQ(run.state(), v1::RUN_STATE_SUCCEEDED) << run.error();
  EXPECT_EQ(run.name(), "runs/demo");
  EXPECT_EQ(run.stages(1).steps_done(), 5);
  // Steps 3 + 5, evaluations at 0, 2, 4, 5 and of the last stage.
  EXPECT_EQ(metrics.size(), 13u);
  EXPECT_TRUE(run.latest_metrics().contains("eval/pass_at_1"));
  EXPECT_TRUE(run.latest_metrics().contains("reward/accuracy/mean"));
  EXPECT_EQ(run.latest_metrics().at("eval/samples"), 6);

  // All samples, page by page, newest first: 5 steps x 4 x 2, 4 evaluations x 2 x 2, 1 x 2 x 3.
  v1::ListSamplesRequest request;
  request.set_name("demo");
  request.set_page_size(7);
  std::set<std::string> seen;
  int count = 0;
  do {
    grpc::ClientContext context;
    v1::ListSamplesResponse response;
    ASSERT_TRUE(Control()->ListSamples(&context, request, &response).ok());
    EXPECT_LE(response.samples_size(), 7);
    if (count == 0) {
      EXPECT_EQ(response.samples(0).stage(), "final");
    }
    for (const v1::Sample& sample : response.samples()) {
      ++count;
      seen.insert(std::to_string(sample.group_id()) + ":" + std::to_string(sample.trajectory().sample_index()));
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(count, 40 + 16 + 6);
  EXPECT_EQ(seen.size(), 62u);

  grpc::ClientContext members_context;
  v1::ListMembersResponse members;
  ASSERT_TRUE(Control()->ListMembers(&members_context, {}, &members).ok());
  EXPECT_EQ(members.members_size(), 4);

  // What a run leaves, and the database made again from the journal alone.
  learner.Stop();
  one.Stop();
  two.Stop();
  reward.Stop();
  (*server)->Stop();
  for (const char* name : {"run.yaml", "metrics.jsonl", "summary.json", "report.html"}) {
    EXPECT_TRUE(FileExists(directory_ + "/runs/demo/" + name)) << name;
  }
  for (const char* name : {"state.sqlite", "state.sqlite-wal", "state.sqlite-shm"}) {
    ASSERT_TRUE(RemoveTree(directory_ + "/state/" + name).ok());
  }
  server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(WatchToTheEnd(&run).size(), 13u);
  EXPECT_EQ(run.state(), v1::RUN_STATE_SUCCEEDED);
}

TEST_F(ServiceTest, StopAndResumeEndWithTheSameWeights) {
  std::string expected;
  for (const bool stop : {false, true}) {
    auto server = StartAfresh();
    ASSERT_TRUE(server.ok()) << server.status();
    FakeDisk disk;
    FakeRewardServer reward(address_);
    // 2 groups of the first evaluation, 4 of step 1, 2 of step 2: then the run cannot go on without another worker.
    FakeWorker first(address_, "w1", stop ? 8 : FakeWorker::kNoLimit);
    FakeLearner learner(address_, &disk);
    std::unique_ptr<FakeWorker> second;
    v1::Run run;
    if (stop) {
      while (Get().stages(1).steps_done() < 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      grpc::ClientContext context;
      v1::StopRunRequest request;
      request.set_name("demo");
      ASSERT_TRUE(Control()->StopRun(&context, request, &run).ok());
      WatchToTheEnd(&run);
      ASSERT_EQ(run.state(), v1::RUN_STATE_STOPPED);
      grpc::ClientContext resume_context;
      v1::ResumeRunRequest resume;
      resume.set_name("demo");
      ASSERT_TRUE(Control()->ResumeRun(&resume_context, resume, &run).ok());
      second = std::make_unique<FakeWorker>(address_, "w2");
    }
    WatchToTheEnd(&run);
    EXPECT_EQ(run.state(), v1::RUN_STATE_SUCCEEDED) << run.error();
    if (stop) {
      EXPECT_EQ(FinalHash(disk), expected);
    }
    expected = FinalHash(disk);
    EXPECT_EQ(expected.size(), 64u);
  }
}

TEST_F(ServiceTest, ARunThatFailsAtTheStartIsNotChargedForTheTimeBefore) {
  const absl::Time created = absl::Now();
  auto server = StartAfresh();
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_EQ(Get().state(), v1::RUN_STATE_RUNNING);
  (*server)->Stop();
  ASSERT_TRUE(WriteFileAtomic(directory_ + "/train.jsonl", "{\"prompt\": \"another\", \"answer\": 1}\n").ok());
  const absl::Time stopped = absl::Now();
  absl::SleepFor(absl::Seconds(3));
  const absl::Time restarted = absl::Now();
  server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const v1::Run run = Get();
  EXPECT_EQ(run.state(), v1::RUN_STATE_FAILED);
  EXPECT_NE(run.error().find("the file has changed since the run began"), std::string::npos) << run.error();
  // However slow the machine is: no more than the time in which there was a coordinator.
  EXPECT_LE(run.running_seconds(), absl::ToDoubleSeconds(stopped - created + (absl::Now() - restarted)));
}

TEST_F(ServiceTest, AGroupThatStaysMalformedFailsTheRun) {
  auto server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_TRUE(CreateDemo().ok());
  FakeDisk disk;
  FakeRewardServer reward(address_);
  FakeWorker diverged(address_, "w1", FakeWorker::kNoLimit, {.logprob = std::nanf("")});
  FakeLearner learner(address_, &disk);
  v1::Run run;
  WatchToTheEnd(&run);
  EXPECT_EQ(run.state(), v1::RUN_STATE_FAILED);
  for (const char* word : {"stage 'zero': group ", " was refused 3 times", "worker 'w1'",
                           "rollout_logprobs: a value is not finite", "probably diverged", "lower learning_rate"}) {
    EXPECT_NE(run.error().find(word), std::string::npos) << word << " is not in: " << run.error();
  }
  // The failure is as durable as any.
  learner.Stop();
  diverged.Stop();
  reward.Stop();
  (*server)->Stop();
  server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get().state(), v1::RUN_STATE_FAILED);
  EXPECT_EQ(Get().error(), run.error());
}

TEST_F(ServiceTest, WhatOneWorkerDeclinesAnotherDoes) {
  std::string expected;
  for (const bool small : {false, true}) {
    auto server = StartAfresh();
    ASSERT_TRUE(server.ok()) << server.status();
    FakeDisk disk;
    FakeRewardServer reward(address_);
    std::unique_ptr<FakeWorker> declining;
    if (small) {
      declining = std::make_unique<FakeWorker>(address_, "small", FakeWorker::kNoLimit,
                                               FakeWorker::Habits{.decline = "--kv_memory_mib: too small"});
    }
    FakeWorker worker(address_, "big");
    FakeLearner learner(address_, &disk);
    v1::Run run;
    WatchToTheEnd(&run);
    EXPECT_EQ(run.state(), v1::RUN_STATE_SUCCEEDED) << run.error();
    EXPECT_EQ(run.latest_metrics().at("rollout/dropped_groups"), 0);
    if (small) {
      EXPECT_EQ(FinalHash(disk), expected);
    }
    expected = FinalHash(disk);
  }
}

TEST_F(ServiceTest, WhatEveryWorkerDeclinesFailsTheRun) {
  decline_grace_ = absl::Milliseconds(200);
  auto server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_TRUE(CreateDemo().ok());
  FakeDisk disk;
  FakeRewardServer reward(address_);
  const FakeWorker::Habits habits = {.decline = "--kv_memory_mib: expected at least 9, got 1"};
  FakeWorker one(address_, "w1", FakeWorker::kNoLimit, habits);
  FakeWorker two(address_, "w2", FakeWorker::kNoLimit, habits);
  FakeLearner learner(address_, &disk);
  v1::Run run;
  WatchToTheEnd(&run);
  EXPECT_EQ(run.state(), v1::RUN_STATE_FAILED);
  for (const char* word :
       {"stage 'zero': no rollout worker can do group ", "worker 'w", "--kv_memory_mib: expected at least 9, got 1"}) {
    EXPECT_NE(run.error().find(word), std::string::npos) << word << " is not in: " << run.error();
  }
}

TEST_F(ServiceTest, RefusesBadInputWithItsPlace) {
  auto server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  // A second coordinator on the same state.
  Coordinator::Options options;
  options.state_directory = directory_ + "/state";
  const auto second = Coordinator::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(std::string(second.status().message()).find(directory_ + "/state"), std::string::npos);
  EXPECT_NE(std::string(second.status().message()).find("process " + std::to_string(getpid())), std::string::npos);
  // Broken data: refused at once, and no run is left behind.
  ASSERT_TRUE(
      WriteFileAtomic(directory_ + "/held_out.jsonl", "{\"prompt\": \"q\", \"answer\": 1}\n{\"prompt\": \n").ok());
  const absl::Status broken = CreateDemo();
  EXPECT_EQ(broken.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(broken.message()).find("held_out.jsonl:2"), std::string::npos) << broken;
  ASSERT_TRUE(WriteFileAtomic(directory_ + "/held_out.jsonl", "{\"prompt\": \"q\", \"answer\": 1}\n").ok());
  // A folder that an earlier state's run wrote.
  ASSERT_TRUE(CreateDirectories(directory_ + "/runs/demo").ok());
  ASSERT_TRUE(WriteFileAtomic(directory_ + "/runs/demo/metrics.jsonl", "").ok());
  EXPECT_EQ(CreateDemo().code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(RemoveTree(directory_ + "/runs").ok());
  ASSERT_TRUE(CreateDemo().ok());
  // The data changes under a run: it fails at the next start, and says why.
  (*server)->Stop();
  ASSERT_TRUE(WriteFileAtomic(directory_ + "/held_out.jsonl", "{\"prompt\": \"changed\", \"answer\": 1}\n").ok());
  server = StartServer("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const v1::Run run = Get();
  EXPECT_EQ(run.state(), v1::RUN_STATE_FAILED);
  EXPECT_NE(run.error().find("held_out.jsonl: the file has changed"), std::string::npos) << run.error();
  // Wrong names and tokens.
  grpc::ClientContext context;
  v1::ListSamplesRequest samples;
  samples.set_name("demo");
  samples.set_page_token("x");
  v1::ListSamplesResponse listed;
  EXPECT_EQ(Control()->ListSamples(&context, samples, &listed).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  grpc::ClientContext get_context;
  v1::GetRunRequest get;
  get.set_name("nothing");
  v1::Run none;
  EXPECT_EQ(Control()->GetRun(&get_context, get, &none).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, LostJournalIsAnErrorAndNotASilence) {
  {
    auto server = StartServer("127.0.0.1:0");
    ASSERT_TRUE(server.ok());
    ASSERT_TRUE(CreateDemo().ok());
    v1::ListMetricsRequest request;
    (*server)->Stop();
  }
  ASSERT_TRUE(RemoveTree(directory_ + "/state/journal").ok());
  const auto server = StartServer("127.0.0.1:0");
  EXPECT_EQ(server.status().code(), absl::StatusCode::kDataLoss) << server.status();
}

// The real program dies at each named crash point, is started again on the same port, and the run ends with the same
// weights as if nothing had happened. Nobody but the coordinator is started again.
class CrashTest : public ServiceTest {
 protected:
  std::unique_ptr<Subprocess> StartProgram(const std::string& listen, const std::string& crash_at) {
    SubprocessOptions options;
    options.argv = {std::string(HONE_BIN_DIR) + "/hone-coordinator",
                    "--listen",
                    listen,
                    "--state",
                    directory_ + "/state",
                    "--address_file",
                    directory_ + "/address",
                    "--log_level",
                    "warning"};
    if (!crash_at.empty()) options.env["HONE_CRASH_AT"] = crash_at;
    options.output_path = directory_ + "/coordinator.log";
    const std::string address_file = directory_ + "/address";
    EXPECT_TRUE(RemoveTree(address_file).ok());
    auto program = Subprocess::Start(options);
    EXPECT_TRUE(program.ok()) << program.status();
    while (!FileExists(address_file) && !(*program)->Poll().has_value()) std::this_thread::yield();
    return *std::move(program);
  }
  // Where the program serves. At some crash points it dies before it listens: then the former run's address is free and
  // as good as any.
  std::string AddressOfProgram() {
    const auto address = ReadFile(directory_ + "/address");
    if (address.ok()) address_ = std::string(absl::StripTrailingAsciiWhitespace(*address));
    return address_;
  }
  std::string RunOnce(const std::string& crash_at, bool* crashed) {
    EXPECT_TRUE(RemoveTree(directory_ + "/state").ok());
    EXPECT_TRUE(RemoveTree(directory_ + "/runs").ok());
    std::filesystem::current_path(directory_);
    std::unique_ptr<Subprocess> program = StartProgram("127.0.0.1:0", crash_at);
    const std::string address = AddressOfProgram();
    FakeDisk disk;
    FakeRewardServer reward(address);
    FakeWorker worker(address, "w1");
    std::atomic<bool> done{false}, died{false};
    // Starts the program again when it dies; the crash point does not apply a second time.
    std::thread keeper([&] {
      while (!done) {
        if (const auto status = program->Wait(absl::Milliseconds(20)); status.has_value() && !done) {
          EXPECT_EQ(*status, 137) << *ReadFile(directory_ + "/coordinator.log");
          died = true;
          program = StartProgram(address, "");
        }
      }
    });
    EXPECT_TRUE(CreateDemo().ok());
    FakeLearner learner(address, &disk);
    v1::Run run;
    while (run.state() != v1::RUN_STATE_SUCCEEDED && run.state() != v1::RUN_STATE_FAILED) {
      grpc::ClientContext context;
      v1::GetRunRequest request;
      request.set_name("demo");
      v1::ControlService::NewStub(CreateChannel(address))->GetRun(&context, request, &run);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(run.state(), v1::RUN_STATE_SUCCEEDED) << run.error();
    // Some points come after the run is seen to have ended.
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (!crash_at.empty() && !died && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
    done = true;
    keeper.join();
    *crashed = died;
    learner.Stop();
    worker.Stop();
    reward.Stop();
    EXPECT_EQ(program->Stop(absl::Seconds(20)), 0) << *ReadFile(directory_ + "/coordinator.log");
    return FinalHash(disk);
  }
};

TEST_F(CrashTest, EveryCrashPointEndsWithTheSameWeights) {
  const std::filesystem::path home = std::filesystem::current_path();
  bool crashed = false;
  const std::string expected = RunOnce("", &crashed);
  EXPECT_FALSE(crashed);
  EXPECT_EQ(expected.size(), 64u);
  for (const char* point :
       {"journal.new_segment", "journal.before_fsync:9", "journal.after_fsync:7", "submit.before_journal:5",
        "submit.before_ack:3", "publish.before_journal:3", "publish.before_ack:4", "batch.between_groups:6",
        "step.before_journal:4", "step.before_ack:5", "checkpoint.before_journal:2", "checkpoint.before_ack:3",
        "finish.before_journal:2", "finish.before_ack", "projection.before_commit:5"}) {
    EXPECT_EQ(RunOnce(point, &crashed), expected) << point;
    EXPECT_TRUE(crashed) << point << " was never passed";
  }
  std::filesystem::current_path(home);
}

}  // namespace
}  // namespace hone::coordinator
