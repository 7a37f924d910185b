// A learner in this process against a fake coordinator over real gRPC.
#include "learner/learner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "learner/checkpoint.h"
#include "learner/testing/fake_coordinator.h"
#include "learner/testing/tiny_world.h"
#include "rpc/server.h"

namespace hone::learner {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

v1::LearnerWork MakeWork(const std::string& folder, const v1::RunSpec& spec, v1::WorkKind kind = v1::WORK_KIND_TRAIN) {
  v1::LearnerWork work;
  work.set_run(spec.name());
  work.set_work_id(absl::StrCat(spec.name(), "/", spec.stages(0).name()));
  *work.mutable_spec() = spec;
  work.set_kind(kind);
  work.mutable_start()->set_model_path(spec.model().path());
  work.mutable_start()->set_random_init(spec.model().random_init());
  work.set_first_version(10);
  work.set_parent_version(-1);
  work.set_output_dir(JoinPath(folder, "out"));
  return work;
}

// A learner that runs until it is stopped. Stopping abandons the work at once, with no checkpoint: as a kill does.
class RunningLearner {
 public:
  explicit RunningLearner(const std::string& coordinator) {
    auto learner =
        Learner::Create({.coordinator = coordinator, .threads = 2, .cancelled = [this] { return stop_.load(); }});
    EXPECT_TRUE(learner.ok()) << learner.status().ToString();
    learner_ = *std::move(learner);
    thread_ = std::thread([this] { status_ = learner_->Run(); });
  }
  ~RunningLearner() { Stop().IgnoreError(); }
  absl::Status Stop() {
    stop_ = true;
    return Join();
  }
  absl::Status Join() {
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  std::atomic<bool> stop_{false};
  std::unique_ptr<Learner> learner_;
  std::thread thread_;
  absl::Status status_;
};

class LearnerTest : public testing::Test {
 protected:
  void Serve(const v1::LearnerWork& work) {
    fake_ = std::make_unique<FakeCoordinator>(work);
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {fake_.get()});
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = *std::move(server);
  }
  // Runs the work to its end with one learner.
  FakeCoordinator::Record Run() {
    RunningLearner learner(server_->address());
    EXPECT_TRUE(fake_->AwaitFinished(kPatience));
    EXPECT_TRUE(learner.Stop().ok());
    return fake_->record();
  }
  FakeCoordinator::Record RunUndisturbed(const v1::LearnerWork& work) {
    Serve(work);
    return Run();
  }
  ~LearnerTest() override {
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
  }

  std::unique_ptr<FakeCoordinator> fake_;
  std::unique_ptr<RpcServer> server_;
};

void ExpectDone(const FakeCoordinator::Record& record, int32_t steps) {
  ASSERT_TRUE(record.finished.has_value());
  EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_DONE) << record.finished->error();
  EXPECT_EQ(record.finished->steps(), steps);
  EXPECT_EQ(record.alarms, 0);
  const auto checkpoint = LoadCheckpoint(record.finished->path(), CheckpointParts::kAll);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ(checkpoint->state.root_hash, record.finished->root_hash());
  EXPECT_EQ(checkpoint->state.step, steps);
  EXPECT_EQ(record.published.at(steps), record.finished->root_hash());
}

TEST_F(LearnerTest, PretrainingLowersTheLossAndPublishesOnlyItsEnd) {
  const std::string folder = FreshFolder("pretrain");
  const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, TinyRun(folder, "pretrain", 30)));
  ExpectDone(record, 30);
  EXPECT_EQ(record.published.size(), 1u);
  ASSERT_EQ(record.metrics.size(), 30u);
  EXPECT_LT(record.metrics.at(30).at("loss"), record.metrics.at(1).at("loss") - 0.5);
  for (const char* name : {"actor/lr", "actor/grad_norm", "train/tokens", "train/seconds", "train/tokens_per_s",
                           "time/update", "time/publish", "memory/peak_rss_bytes"}) {
    EXPECT_EQ(record.metrics.at(5).count(name), 1u) << name;
  }
}

TEST_F(LearnerTest, AStageInEpochsTellsItsSteps) {
  const std::string folder = FreshFolder("epochs");
  v1::RunSpec spec = TinyRun(folder, "pretrain", 5);
  spec.mutable_stages(0)->mutable_pretrain()->clear_steps();
  spec.mutable_stages(0)->mutable_pretrain()->set_epochs(1);
  const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
  ASSERT_TRUE(record.finished.has_value());
  EXPECT_GT(record.steps_total, 0);
  ExpectDone(record, record.steps_total);
}

TEST_F(LearnerTest, AWarmUpLongerThanTheEpochsIsRefused) {
  const std::string folder = FreshFolder("epochs-warm-up");
  v1::RunSpec spec = TinyRun(folder, "pretrain", 5);
  v1::SftStage* stage = spec.mutable_stages(0)->mutable_pretrain();
  stage->clear_steps();
  stage->set_epochs(1);
  stage->mutable_optimizer()->set_warmup_steps(100000);
  const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
  ASSERT_TRUE(record.finished.has_value());
  EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_FAILED);
  EXPECT_TRUE(record.finished->error().starts_with("optimizer.warmup_steps: expected at most the stage's "))
      << record.finished->error();
}

TEST_F(LearnerTest, PretrainingPublishesWhereEvaluationIsDueAndWaits) {
  const std::string folder = FreshFolder("pretrain-eval");
  v1::RunSpec spec = TinyRun(folder, "pretrain", 5);
  v1::PeriodicEvalSpec* evaluate = spec.mutable_stages(0)->mutable_pretrain()->mutable_evaluate();
  evaluate->set_every_steps(2);
  evaluate->set_keep_best(true);
  spec.mutable_checkpoints()->set_every_steps(1000);
  Serve(MakeWork(folder, spec));
  int asked = 0;
  fake_->evaluation_due = [](int32_t) { return true; };
  fake_->on_await_release = [&](int64_t) { return ++asked % 2 == 1 ? v1::DIRECTIVE_WAIT : v1::DIRECTIVE_CONTINUE; };
  const FakeCoordinator::Record record = Run();
  ExpectDone(record, 5);
  // A step is reported before its checkpoint, and published before its report.
  const std::vector<std::string> order = {
      "publish 0",    "checkpoint 0", "release 0", "release 0", "report 1",     "publish 2", "report 2",
      "checkpoint 2", "release 2",    "release 2", "report 3",  "publish 4",    "report 4",  "checkpoint 4",
      "release 4",    "release 4",    "report 5",  "publish 5", "checkpoint 5", "release 5", "release 5"};
  EXPECT_EQ(record.calls, order);
}

TEST_F(LearnerTest, RlPublishesEveryStepAndAgreesWithTheRollout) {
  for (const v1::DType dtype : {v1::DTYPE_FP32, v1::DTYPE_BF16}) {
    const std::string folder = FreshFolder("rl");
    v1::RunSpec spec = TinyRun(folder, "rl", 5);
    spec.mutable_numerics()->set_dtype(dtype);
    spec.mutable_stages(0)->mutable_rl()->mutable_algorithm()->set_kl_coefficient(0.01);
    const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
    ExpectDone(record, 5);
    EXPECT_EQ(record.published.size(), 6u);
    EXPECT_NE(record.published.at(0), record.published.at(5));
    for (int32_t step = 1; step <= 5; ++step) {
      EXPECT_EQ(record.metrics.at(step).at("rollout/logprob_diff_max"), 0) << step;
      EXPECT_GT(record.metrics.at(step).at("rollout/compared_tokens"), 0) << step;
      EXPECT_EQ(record.metrics.at(step).count("actor/kl_loss"), 1u);
    }
    EXPECT_EQ(record.metrics.at(1).at("actor/ratio_min") == 1, false);  // the second minibatch has moved on
    const auto checkpoint = LoadCheckpoint(record.finished->path(), CheckpointParts::kWeights);
    ASSERT_TRUE(checkpoint.ok());
    EXPECT_EQ(checkpoint->state.journal_position, 5000);
    EXPECT_EQ(checkpoint->state.version, 15);
  }
}

TEST_F(LearnerTest, OneStepOffTrainsOnSamplesOfTheVersionBefore) {
  const std::string folder = FreshFolder("behind");
  v1::RunSpec spec = TinyRun(folder, "rl", 5);
  v1::RlStage* rl = spec.mutable_stages(0)->mutable_rl();
  rl->set_mode(v1::RL_MODE_ONE_STEP_OFF);
  rl->mutable_algorithm()->set_old_policy(v1::OLD_POLICY_ROLLOUT);
  const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
  ExpectDone(record, 5);
  for (int32_t step = 1; step <= 5; ++step) {
    const std::map<std::string, double>& metrics = record.metrics.at(step);
    EXPECT_EQ(metrics.at("rollout/staleness_max"), step == 1 ? 0 : 1) << step;
    EXPECT_EQ(metrics.at("rollout/staleness_mean"), step == 1 ? 0 : 1) << step;
    EXPECT_EQ(metrics.count("off_policy/effective_sample_size"), step == 1 ? 0u : 1u) << step;
    if (step == 1) continue;
    EXPECT_LT(metrics.at("off_policy/effective_sample_size"), 1) << step;
    EXPECT_GT(metrics.at("off_policy/effective_sample_size"), 0.5) << step;
    EXPECT_NE(metrics.at("off_policy/ratio_mean"), 1) << step;
  }
  EXPECT_EQ(record.metrics.at(1).at("rollout/logprob_diff_max"), 0);
  EXPECT_GT(record.metrics.at(1).at("rollout/compared_tokens"), 0);
  EXPECT_EQ(record.metrics.at(3).at("rollout/compared_tokens"), 0) << "what other weights sampled is not compared";
}

TEST_F(LearnerTest, AsynchronousCheckpointsAreTheSame) {
  std::vector<std::string> hashes;
  for (const bool asynchronous : {false, true}) {
    const std::string folder = FreshFolder(absl::StrCat("asynchronous-", asynchronous));
    v1::RunSpec spec = TinyRun(folder, "rl", 6);
    spec.mutable_checkpoints()->set_asynchronous(asynchronous);
    const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
    ExpectDone(record, 6);
    for (const int32_t step : {4, 6}) {
      auto checkpoint = LoadCheckpoint(record.checkpoints.at(step), CheckpointParts::kAll);
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      EXPECT_EQ(checkpoint->state.root_hash, record.published.at(step)) << step;
      EXPECT_EQ(checkpoint->state.journal_position, 1000 * step) << "of its own step, though training has gone on";
      hashes.push_back(
          model::RootHash(checkpoint->model.config, ValuesOf(checkpoint->first_moment, kernels::Moment::kFirst)));
    }
  }
  EXPECT_EQ(hashes[0], hashes[2]);
  EXPECT_EQ(hashes[1], hashes[3]);
  EXPECT_NE(hashes[0], hashes[1]);
}

TEST_F(LearnerTest, TheReferenceIsRenewed) {
  std::map<int32_t, std::string> ends;
  for (const int32_t refresh : {0, 3, 100}) {
    const std::string folder = FreshFolder(absl::StrCat("refresh-", refresh));
    v1::RunSpec spec = TinyRun(folder, "rl", 7);
    v1::RlStage* rl = spec.mutable_stages(0)->mutable_rl();
    rl->set_minibatches(1);
    rl->mutable_algorithm()->set_kl_coefficient(0.5);
    rl->mutable_algorithm()->set_reference_refresh_steps(refresh);
    spec.mutable_checkpoints()->set_every_steps(1000);
    const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
    ExpectDone(record, 7);
    ends[refresh] = record.finished->root_hash();
    // With one minibatch the policy is compared with the reference before it moves.
    EXPECT_EQ(record.metrics.at(1).at("actor/kl_loss"), 0);
    for (const int32_t step : {2, 3, 5, 6}) EXPECT_GT(record.metrics.at(step).at("actor/kl_loss"), 0) << step;
    for (const int32_t step : {4, 7}) EXPECT_EQ(record.metrics.at(step).at("actor/kl_loss") == 0, refresh == 3) << step;
    EXPECT_EQ(record.metrics.at(6).count("actor/reference_step"), refresh > 0 ? 1u : 0u);
    if (refresh == 3) {
      EXPECT_EQ(record.metrics.at(6).at("actor/reference_step"), 3);
      EXPECT_EQ(record.metrics.at(7).at("actor/reference_step"), 6);
    }
  }
  EXPECT_EQ(ends.at(100), ends.at(0));
  EXPECT_NE(ends.at(3), ends.at(0));
}

// Learners are abandoned at random moments; the last one's weights are those of a learner that nobody disturbed.
TEST_F(LearnerTest, ResumedRunsEndWithTheSameWeights) {
  std::map<std::string, std::string> ends;
  for (const std::string kind : {"pretrain", "pretrain-dropout", "pretrain-fp8", "pretrain-lean", "rl", "rl-lean",
                                 "rl-refresh", "rl-behind", "rl-behind-bf16", "rl-behind-async"}) {
    const std::string folder = FreshFolder(absl::StrCat("resume-", kind));
    v1::RunSpec spec = TinyRun(folder, kind.substr(0, kind.find('-')), 9);
    if (kind == "rl-refresh") {
      spec.mutable_stages(0)->mutable_rl()->mutable_algorithm()->set_kl_coefficient(0.5);
      spec.mutable_stages(0)->mutable_rl()->mutable_algorithm()->set_reference_refresh_steps(5);
      spec.mutable_checkpoints()->set_every_steps(1);
    }
    v1::SftStage* pretrain = spec.stages(0).has_pretrain() ? spec.mutable_stages(0)->mutable_pretrain() : nullptr;
    if (kind == "pretrain-dropout") {
      pretrain->mutable_repetition_dropout()->set_probability(0.5);
      pretrain->mutable_repetition_dropout()->set_max_ngram(2);
    }
    if (kind == "pretrain-fp8") pretrain->mutable_optimizer()->set_moments(v1::MOMENT_FORMAT_FP8);
    if (kind.ends_with("lean")) {  // all that takes less memory, checkpoints asynchronous
      spec.mutable_memory()->set_recompute(v1::RECOMPUTE_LAYER);
      spec.mutable_memory()->set_micro_batch_tokens(20);
      spec.mutable_numerics()->set_micro_batch_invariant(true);
      spec.mutable_checkpoints()->set_asynchronous(true);
      (pretrain != nullptr ? pretrain->mutable_optimizer() : spec.mutable_stages(0)->mutable_rl()->mutable_optimizer())
          ->set_moments(v1::MOMENT_FORMAT_BF16);
    }
    if (kind.starts_with("rl-behind")) spec.mutable_stages(0)->mutable_rl()->set_mode(v1::RL_MODE_ONE_STEP_OFF);
    if (kind.ends_with("async")) spec.mutable_checkpoints()->set_asynchronous(true);
    if (kind.ends_with("bf16")) spec.mutable_numerics()->set_dtype(v1::DTYPE_BF16);
    const v1::LearnerWork work = MakeWork(folder, spec);
    const FakeCoordinator::Record undisturbed = RunUndisturbed(work);
    ExpectDone(undisturbed, 9);
    ASSERT_TRUE(RemoveTree(work.output_dir()).ok());
    Serve(work);
    std::mt19937 random(5);
    int lives = 0;
    for (; lives < 30 && !fake_->record().finished.has_value(); ++lives) {
      const size_t calls = fake_->record().calls.size() + 1 + random() % 9;
      RunningLearner learner(server_->address());
      while (fake_->record().calls.size() < calls && !fake_->record().finished.has_value()) {
        absl::SleepFor(absl::Milliseconds(1));
      }
      EXPECT_TRUE(learner.Stop().ok());
    }
    if (!fake_->record().finished.has_value()) Run();
    const FakeCoordinator::Record record = fake_->record();
    ExpectDone(record, 9);
    EXPECT_GT(lives, 1) << kind;
    EXPECT_EQ(record.finished->root_hash(), undisturbed.finished->root_hash()) << kind;
    EXPECT_EQ(record.metrics.size(), 9u);
    ends[kind] = record.finished->root_hash();
  }
  // Each setting reached the weights.
  for (const std::string kind : {"pretrain-fp8", "pretrain-dropout", "pretrain-lean"}) {
    EXPECT_NE(ends.at(kind), ends.at("pretrain")) << kind;
  }
  EXPECT_NE(ends.at("rl-lean"), ends.at("rl"));
}

// What takes less memory without touching the numbers: any of it, one end. The default batches are those of every mode.
TEST_F(LearnerTest, RecomputeAndMicroBatchesLeaveNoTrace) {
  std::map<std::string, std::string> ends;
  for (const bool invariant : {false, true}) {
    for (const auto recompute : {v1::RECOMPUTE_NONE, v1::RECOMPUTE_MLP, v1::RECOMPUTE_LAYER}) {
      for (const int tokens : {0, 20}) {
        if (!invariant && tokens > 0) continue;  // that may leave one
        const std::string folder = FreshFolder("no-trace");
        v1::RunSpec spec = TinyRun(folder, "pretrain", 4);
        spec.mutable_memory()->set_recompute(recompute);
        if (tokens > 0) spec.mutable_memory()->set_micro_batch_tokens(tokens);
        spec.mutable_numerics()->set_micro_batch_invariant(invariant);
        const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
        ExpectDone(record, 4);
        std::string& expected = ends[invariant ? "invariant" : "plain"];
        if (expected.empty()) expected = record.finished->root_hash();
        EXPECT_EQ(record.finished->root_hash(), expected) << invariant << " " << recompute << " " << tokens;
      }
    }
  }
}

TEST_F(LearnerTest, StopWritesACheckpointAndResumeGoesOn) {
  const std::string folder = FreshFolder("stop");
  const v1::LearnerWork work = MakeWork(folder, TinyRun(folder, "rl", 5));
  const FakeCoordinator::Record undisturbed = RunUndisturbed(work);
  ASSERT_TRUE(RemoveTree(work.output_dir()).ok());
  Serve(work);
  fake_->on_report_step = [](int32_t step) { return step == 3 ? v1::DIRECTIVE_STOP : v1::DIRECTIVE_CONTINUE; };
  FakeCoordinator::Record record = Run();
  EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_STOPPED);
  EXPECT_EQ(record.finished->steps(), 3);
  EXPECT_EQ(record.checkpoints.count(3), 1u);
  fake_->on_report_step = nullptr;
  fake_->on_fetch_batch = [](int32_t step) { return step == 5 ? v1::DIRECTIVE_STOP : v1::DIRECTIVE_CONTINUE; };
  fake_->Reopen();
  record = Run();
  EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_STOPPED);
  EXPECT_EQ(record.finished->steps(), 4);
  fake_->on_fetch_batch = nullptr;
  fake_->Reopen();
  record = Run();
  ExpectDone(record, 5);
  EXPECT_EQ(record.finished->root_hash(), undisturbed.finished->root_hash());
}

TEST_F(LearnerTest, FinishEndsTheStageInOrder) {
  for (const std::string kind : {"pretrain", "rl"}) {
    const std::string folder = FreshFolder("finish");
    Serve(MakeWork(folder, TinyRun(folder, kind, 9)));
    fake_->on_report_step = [](int32_t step) { return step >= 4 ? v1::DIRECTIVE_FINISH : v1::DIRECTIVE_CONTINUE; };
    ExpectDone(Run(), 4);
  }
}

// The budget ended the stage at step 4, and the learner that heard so died before it finished the work. The next one
// trains no step more, from whichever checkpoint it goes on, and ends with the weights of an undisturbed learner.
// The budget ends a stage with a step that was published as any other; what samples the next one is in its checkpoint.
TEST_F(LearnerTest, AnEndByTheBudgetOneStepOffCanBeResumed) {
  const std::string folder = FreshFolder("budget-behind");
  v1::RunSpec spec = TinyRun(folder, "rl", 20);
  spec.mutable_stages(0)->mutable_rl()->set_mode(v1::RL_MODE_ONE_STEP_OFF);
  Serve(MakeWork(folder, spec));
  fake_->on_report_step = [](int32_t step) { return step >= 3 ? v1::DIRECTIVE_FINISH : v1::DIRECTIVE_CONTINUE; };
  const FakeCoordinator::Record record = Run();
  ExpectDone(record, 3);
  const auto checkpoint = LoadCheckpoint(record.finished->path(), CheckpointParts::kAll);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->state.previous_root_hash, record.published.at(2));
  EXPECT_FALSE(checkpoint->previous.empty());
}

TEST_F(LearnerTest, ARestartedLearnerEndsWhereTheBudgetDid) {
  for (const std::string kind : {"pretrain", "rl"}) {
    const std::string folder = FreshFolder(absl::StrCat("finish-again-", kind));
    v1::RunSpec spec = TinyRun(folder, kind, 9);
    spec.mutable_checkpoints()->set_every_steps(3);
    v1::LearnerWork work = MakeWork(folder, spec);
    Serve(work);
    fake_->on_report_step = [](int32_t step) { return step >= 4 ? v1::DIRECTIVE_FINISH : v1::DIRECTIVE_CONTINUE; };
    const FakeCoordinator::Record first = Run();
    ExpectDone(first, 4);
    work.set_finish_step(4);
    for (const int32_t resume : {3, 4}) {
      work.set_resume_checkpoint(first.checkpoints.at(resume));
      work.set_resume_step(resume);
      const FakeCoordinator::Record again = RunUndisturbed(work);
      ExpectDone(again, 4);
      EXPECT_EQ(again.metrics.size(), static_cast<size_t>(4 - resume)) << kind;
      EXPECT_EQ(again.finished->root_hash(), first.finished->root_hash()) << kind;
    }
  }
}

TEST_F(LearnerTest, PauseWaitsAtTheStep) {
  const std::string folder = FreshFolder("pause");
  Serve(MakeWork(folder, TinyRun(folder, "pretrain", 3)));
  int asked = 0;
  fake_->on_report_step = [&](int32_t step) {
    return step == 2 && ++asked < 4 ? v1::DIRECTIVE_WAIT : v1::DIRECTIVE_CONTINUE;
  };
  ExpectDone(Run(), 3);
  EXPECT_EQ(asked, 4);
}

TEST_F(LearnerTest, AbandonedWorkLeavesNoCheckpoint) {
  const std::string folder = FreshFolder("abandon");
  Serve(MakeWork(folder, TinyRun(folder, "rl", 5)));
  std::atomic<bool> abandoned = false;
  fake_->on_report_step = [&](int32_t) {
    abandoned = true;
    return v1::DIRECTIVE_ABANDON;
  };
  RunningLearner learner(server_->address());
  while (!abandoned) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_TRUE(learner.Stop().ok());
  EXPECT_TRUE(fake_->record().checkpoints.empty());
  EXPECT_FALSE(fake_->record().finished.has_value());
}

TEST_F(LearnerTest, AFencedLearnerGivesUp) {
  const std::string folder = FreshFolder("fenced");
  Serve(MakeWork(folder, TinyRun(folder, "rl", 1000)));
  std::atomic<bool> running = false;
  fake_->on_fetch_batch = [&](int32_t) {
    running = true;
    return v1::DIRECTIVE_WAIT;
  };
  RunningLearner learner(server_->address());
  while (!running) absl::SleepFor(absl::Milliseconds(5));
  fake_->Fence();
  const absl::Status status = learner.Join();
  EXPECT_TRUE(absl::IsAborted(status)) << status.ToString();
  EXPECT_EQ(fake_->record().registrations, 1);
}

TEST_F(LearnerTest, ServesACheckpointForEvaluation) {
  const std::string folder = FreshFolder("serve");
  v1::RunSpec spec = TinyRun(folder, "pretrain", 3);
  const FakeCoordinator::Record trained = RunUndisturbed(MakeWork(folder, spec));
  spec.mutable_stages(0)->mutable_evaluate();
  v1::LearnerWork work = MakeWork(folder, spec, v1::WORK_KIND_SERVE);
  work.clear_start();
  work.mutable_start()->set_checkpoint_path(trained.finished->path());
  Serve(work);
  fake_->evaluation_due = [](int32_t) { return true; };
  const FakeCoordinator::Record record = Run();
  EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_DONE) << record.finished->error();
  EXPECT_EQ(record.calls, (std::vector<std::string>{"publish 0", "release 0"}));
  EXPECT_EQ(record.published.at(0), trained.finished->root_hash());
}

TEST_F(LearnerTest, ExportsOnceAndNeverOverOthersFiles) {
  const std::string folder = FreshFolder("export");
  v1::RunSpec spec = TinyRun(folder, "pretrain", 3);
  spec.mutable_stages(0)->mutable_export_()->set_path(JoinPath(folder, "exported"));
  const v1::LearnerWork work = MakeWork(folder, spec, v1::WORK_KIND_EXPORT);
  v1::LearnerWork slashed = work;
  slashed.mutable_spec()->mutable_stages(0)->mutable_export_()->set_path(JoinPath(folder, "exported") + "/.//");
  for (int i = 0; i < 4; ++i) {  // each time over the one before
    const FakeCoordinator::Record record = RunUndisturbed(i < 2 ? work : slashed);
    ASSERT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_DONE) << record.finished->error();
    v1::WeightsOrigin origin;
    origin.set_model_path(record.finished->path());
    const auto loaded = LoadOrigin(origin, 0);
    ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
    EXPECT_EQ(model::RootHash(loaded->config, loaded->masters), record.finished->root_hash());
    EXPECT_EQ(loaded->files.count("tokenizer.json"), 1u);
    EXPECT_EQ(record.finished->path(), JoinPath(folder, "exported"));
    EXPECT_FALSE(FileExists(JoinPath(folder, "exported.hone-old")));
    EXPECT_FALSE(FileExists(JoinPath(folder, "exported.hone-tmp")));
  }
  // Another run's export at the same place is another's.
  v1::LearnerWork other = work;
  other.set_run("other");
  const FakeCoordinator::Record others = RunUndisturbed(other);
  EXPECT_EQ(others.finished->outcome(), v1::WORK_OUTCOME_FAILED);
  EXPECT_NE(others.finished->error().find("is the export of another run or stage"), std::string::npos)
      << others.finished->error();
  ASSERT_TRUE(RemoveTree(JoinPath(folder, "exported/hone_export.json")).ok());
  const FakeCoordinator::Record refused = RunUndisturbed(work);
  EXPECT_EQ(refused.finished->outcome(), v1::WORK_OUTCOME_FAILED);
  EXPECT_NE(refused.finished->error().find("not overwritten"), std::string::npos) << refused.finished->error();
}

TEST_F(LearnerTest, WorkThatCannotBeDoneFailsWithItsReason) {
  const std::string folder = FreshFolder("bad");
  const v1::LearnerWork good = MakeWork(folder, TinyRun(folder, "pretrain", 3));
  const auto error = [&](const v1::LearnerWork& work) {
    const FakeCoordinator::Record record = RunUndisturbed(work);
    EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_FAILED);
    EXPECT_TRUE(record.published.empty());
    return record.finished->error();
  };
  v1::LearnerWork work = good;
  work.mutable_start()->set_model_path(JoinPath(folder, "absent"));
  EXPECT_NE(error(work).find("absent' does not exist"), std::string::npos);
  work = good;
  work.mutable_start()->set_random_init(false);
  EXPECT_NE(error(work).find(JoinPath(folder, "model")), std::string::npos);
  std::ofstream(JoinPath(folder, "data.jsonl"), std::ios::app) << "{\"prompt\": \"w2\"}\n";
  EXPECT_NE(error(good).find("data.jsonl:51: expected a key 'completion'"), std::string::npos);
  work = good;
  work.mutable_start()->clear_model_path();
  work.mutable_start()->set_checkpoint_path(folder);
  EXPECT_NE(error(work).find("is not a checkpoint"), std::string::npos);
}

// The rollout would drop every prompt with the same reason: better said before anything is trained.
TEST_F(LearnerTest, AnUnknownChatTemplateFailsTheWork) {
  for (const std::string kind : {"pretrain", "rl"}) {
    const std::string folder = FreshFolder(absl::StrCat("chat-", kind));
    v1::RunSpec spec = TinyRun(folder, kind, 3);
    v1::StageSpec* stage = spec.mutable_stages(0);
    v1::PeriodicEvalSpec* evaluate =
        kind == "rl" ? stage->mutable_rl()->mutable_evaluate() : stage->mutable_pretrain()->mutable_evaluate();
    evaluate->mutable_evaluation()->set_dataset("asked");
    (*spec.mutable_datasets())["asked"].add_sources()->set_template_(v1::PROMPT_TEMPLATE_CHAT);
    // The error quotes it; what is not UTF-8 must not keep it from being reported.
    std::ofstream(JoinPath(folder, "model/chat_template.jinja")) << "{{ messages }} \xff";
    const FakeCoordinator::Record record = RunUndisturbed(MakeWork(folder, spec));
    EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_FAILED);
    EXPECT_TRUE(record.published.empty());
    EXPECT_NE(record.finished->error().find("data set 'asked': template: chat: chat_template.jinja: unknown chat"),
              std::string::npos)
        << record.finished->error();
  }
}

// The workers would refuse it one after another, after the whole transfer.
TEST_F(LearnerTest, ATokenizerThatCannotBeReadFailsTheWork) {
  const std::string folder = FreshFolder("tokenizer");
  const v1::LearnerWork work = MakeWork(folder, TinyRun(folder, "rl", 3));
  std::ofstream(JoinPath(folder, "model/tokenizer.json")) << R"({"model": {"type": "Unigram", "vocab": []}})";
  const FakeCoordinator::Record record = RunUndisturbed(work);
  EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_FAILED);
  EXPECT_TRUE(record.published.empty());
  EXPECT_TRUE(record.finished->error().starts_with("the model's tokenizer.json: ")) << record.finished->error();
}

TEST_F(LearnerTest, CompletionsThatFillTheContextFailTheWorkBeforeItBegins) {
  const int context = TinyConfig().max_positions;
  const std::string expected = absl::StrCat("max_new_tokens: expected at most ", context - 1);
  const auto expect_refused = [&](const v1::LearnerWork& work, const std::string& path) {
    const FakeCoordinator::Record record = RunUndisturbed(work);
    EXPECT_EQ(record.finished->outcome(), v1::WORK_OUTCOME_FAILED) << path;
    EXPECT_TRUE(record.published.empty()) << path;
    EXPECT_EQ(record.finished->error().find(absl::StrCat(path, ".sampling.", expected)), 0u)
        << record.finished->error();
  };
  const std::string folder = FreshFolder("room");
  v1::RunSpec spec = TinyRun(folder, "rl", 3);
  spec.mutable_stages(0)->mutable_rl()->mutable_sampling()->set_max_new_tokens(context);
  expect_refused(MakeWork(folder, spec), "stages[0].rl");

  // The stage itself samples nothing; the one that follows it does.
  spec = TinyRun(folder, "pretrain", 3);
  v1::StageSpec* after = spec.add_stages();
  after->set_name("after");
  after->set_from(spec.stages(0).name());
  after->mutable_evaluate()->mutable_evaluation()->mutable_sampling()->set_max_new_tokens(context);
  expect_refused(MakeWork(folder, spec), "stages[1].evaluate.evaluation");
  after->clear_from();
  spec.mutable_stages()->SwapElements(0, 1);
  expect_refused(MakeWork(folder, spec, v1::WORK_KIND_SERVE), "stages[0].evaluate.evaluation");
}

// What the first steps were trained on must be what the others are: data of a supervised stage, the reference of rl.
TEST_F(LearnerTest, OtherDataOrAnotherReferenceThanBeforeIsRefused) {
  for (const std::string kind : {"pretrain", "rl"}) {
    const std::string folder = FreshFolder(absl::StrCat("changed-", kind));
    v1::RunSpec spec = TinyRun(folder, kind, 4);
    if (kind == "rl") spec.mutable_stages(0)->mutable_rl()->mutable_algorithm()->set_kl_coefficient(0.1);
    v1::LearnerWork work = MakeWork(folder, spec);
    const FakeCoordinator::Record record = RunUndisturbed(work);
    ExpectDone(record, 4);
    work.set_resume_checkpoint(record.finished->path());
    work.set_resume_step(4);
    ExpectDone(RunUndisturbed(work), 4);
    if (kind == "rl") {
      work.mutable_start()->set_checkpoint_path(record.finished->path());
    } else {
      WriteTinyData(work.spec().datasets().begin()->second.sources(0).path(), 30, /*seed=*/99);
    }
    const FakeCoordinator::Record refused = RunUndisturbed(work);
    EXPECT_EQ(refused.finished->outcome(), v1::WORK_OUTCOME_FAILED) << kind;
    EXPECT_NE(refused.finished->error().find(kind == "rl" ? "the reference model has changed"
                                                          : ".sources[0] (data.jsonl) has changed"),
              std::string::npos)
        << refused.finished->error();
  }
}

TEST_F(LearnerTest, ACheckpointOfAnotherSpecIsRefused) {
  const std::string folder = FreshFolder("foreign-resume");
  v1::LearnerWork work = MakeWork(folder, TinyRun(folder, "pretrain", 4));
  const FakeCoordinator::Record record = RunUndisturbed(work);
  work.mutable_spec()->mutable_stages(0)->mutable_pretrain()->set_batch_size(4);
  work.set_resume_checkpoint(record.finished->path());
  work.set_resume_step(4);
  const FakeCoordinator::Record refused = RunUndisturbed(work);
  EXPECT_EQ(refused.finished->outcome(), v1::WORK_OUTCOME_FAILED);
  EXPECT_NE(refused.finished->error().find("expected run 'tiny', stage 'pretrain', step 4"), std::string::npos)
      << refused.finished->error();
}

}  // namespace
}  // namespace hone::learner
