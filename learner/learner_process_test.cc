// The real hone-learner program, killed at its crash points, against a fake coordinator.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "learner/checkpoint.h"
#include "learner/testing/fake_coordinator.h"
#include "learner/testing/tiny_world.h"
#include "rpc/server.h"

namespace hone::learner {
namespace {

constexpr int kSteps = 5;
constexpr absl::Duration kPatience = absl::Seconds(120);

class ProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = FreshFolder("process");
    const v1::RunSpec spec = TinyRun(folder_, "rl", kSteps);
    work_.set_run(spec.name());
    work_.set_work_id("tiny/rl");
    *work_.mutable_spec() = spec;
    work_.set_kind(v1::WORK_KIND_TRAIN);
    work_.mutable_start()->set_model_path(spec.model().path());
    work_.mutable_start()->set_random_init(true);
    work_.set_parent_version(-1);
    work_.set_output_dir(JoinPath(folder_, "out"));
    Begin();
  }
  void TearDown() override { server_->Shutdown(absl::ZeroDuration()); }

  // A run from the beginning.
  void Begin() {
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
    ASSERT_TRUE(RemoveTree(work_.output_dir()).ok());
    fake_ = std::make_unique<FakeCoordinator>(work_);
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {fake_.get()});
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = *std::move(server);
  }
  std::unique_ptr<Subprocess> StartLearner(const std::string& crash_at) {
    SubprocessOptions options;
    options.argv = {std::string(HONE_BIN_DIR) + "/hone-learner",
                    "--coordinator",
                    server_->address(),
                    "--listen=127.0.0.1:0",
                    "--address_file",
                    JoinPath(folder_, "address"),
                    "--threads=1"};
    if (!crash_at.empty()) options.env["HONE_CRASH_AT"] = crash_at;
    options.output_path = JoinPath(folder_, "learner.log");
    auto process = Subprocess::Start(options);
    EXPECT_TRUE(process.ok()) << process.status().ToString();
    return *std::move(process);
  }
  std::string FinishUndisturbed() {
    const auto process = StartLearner("");
    EXPECT_TRUE(fake_->AwaitFinished(kPatience));
    EXPECT_EQ(process->Stop(absl::Seconds(20)), 0);
    const FakeCoordinator::Record record = fake_->record();
    EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_DONE) << record.finished->error();
    EXPECT_EQ(record.finished->steps(), kSteps);
    EXPECT_EQ(record.alarms, 0);
    for (const auto& [step, metrics] : record.metrics) EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0) << step;
    EXPECT_TRUE(LoadCheckpoint(record.finished->path(), CheckpointParts::kAll).ok());
    return record.finished->root_hash();
  }

  std::string folder_;
  v1::LearnerWork work_;
  std::unique_ptr<FakeCoordinator> fake_;
  std::unique_ptr<RpcServer> server_;
};

TEST_F(ProcessTest, KilledAnywhereItEndsWithTheSameWeights) {
  const std::string undisturbed = FinishUndisturbed();
  // Checkpoints are due after steps 2, 4 and 5.
  for (const std::string point : {"checkpoint.before_write", "checkpoint.before_rename", "checkpoint.after_rename"}) {
    for (const int pass : {1, 2, 3}) {
      Begin();
      const auto process = StartLearner(absl::StrCat(point, ":", pass));
      EXPECT_EQ(process->Wait(kPatience), 137) << point << ":" << pass;
      EXPECT_FALSE(fake_->record().finished.has_value());
      EXPECT_EQ(FinishUndisturbed(), undisturbed) << point << ":" << pass;
    }
  }
  // And with SIGKILL in the middle of a run.
  Begin();
  const auto process = StartLearner("");
  while (fake_->record().metrics.size() < 3) absl::SleepFor(absl::Milliseconds(1));
  process->Signal(SIGKILL);
  EXPECT_EQ(process->Wait(kPatience), 128 + SIGKILL);
  EXPECT_EQ(FinishUndisturbed(), undisturbed);
}

TEST_F(ProcessTest, FlagsPortsAndShutdown) {
  const std::string program = std::string(HONE_BIN_DIR) + "/hone-learner";
  const auto exit_code = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program);
    auto process = Subprocess::Start({.argv = std::move(arguments), .output_path = JoinPath(folder_, "flags.log")});
    EXPECT_TRUE(process.ok());
    return (*process)->Wait(kPatience).value_or(-1);
  };
  EXPECT_EQ(exit_code({"--help"}), 0);
  EXPECT_EQ(exit_code({"--thread=1"}), 2);
  EXPECT_EQ(exit_code({"--listen", server_->address()}), 1);  // a port in use
  const auto text = ReadFile(JoinPath(folder_, "flags.log"));
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find(server_->address()), std::string::npos) << *text;
  // Without a coordinator it waits, and ends when it is told to.
  auto waiting = Subprocess::Start({.argv = {program, "--coordinator=127.0.0.1:1", "--listen=127.0.0.1:0",
                                             "--address_file", JoinPath(folder_, "waiting")},
                                    .output_path = JoinPath(folder_, "waiting.log")});
  ASSERT_TRUE(waiting.ok());
  while (!FileExists(JoinPath(folder_, "waiting"))) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ((*waiting)->Stop(absl::Seconds(20)), 0);
}

}  // namespace
}  // namespace hone::learner
