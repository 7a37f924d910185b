// The real program, on loopback, between a coordinator and a reward server that live in the test and the real weight
// server.
#include "rollout_worker/worker.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/files.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "hone/v1/reward.grpc.pb.h"
#include "hone/v1/rollout.grpc.pb.h"
#include "model/test_models.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "weight_sync/weight_server.h"
#include "weight_sync/weight_snapshot.h"

namespace hone {
namespace {

constexpr int kWords = 40;
constexpr int kGroupSize = 3;

// What differs between the tests' models.
struct ModelSettings {
  int max_positions = 64;
  int heads = 4, kv_heads = 2, head_dim = 16;
  std::string tokenizer_type = "WordLevel";
  int word_bytes = 0;  // words are at least so long; 0: two or three bytes
};

model::ModelConfig TinyConfig(const ModelSettings& settings) {
  model::ModelConfig config =
      model::TinyConfigs(32, settings.heads, settings.kv_heads, settings.head_dim, 48, kWords, 2)[0].config;
  config.max_positions = settings.max_positions;
  config.eos_token_ids = {3};
  return config;
}

ModelFiles TinyFiles(const ModelSettings& settings) {
  std::string vocab;
  for (int i = 0; i < kWords; ++i) {
    std::string word = "w" + std::to_string(i);
    if (i > 0) word.resize(std::max(word.size(), static_cast<size_t>(settings.word_bytes)), 'x');
    vocab += (i ? ", \"" : "\"") + word + "\": " + std::to_string(i);
  }
  return {
      {"config.json", model::ModelConfigJson(TinyConfig(settings), false)},
      {"tokenizer.json",
       "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], \"normalizer\": null, "
       "\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"post_processor\": null, \"decoder\": null, "
       "\"model\": {\"type\": \"" +
           settings.tokenizer_type + "\", \"unk_token\": \"w0\", \"vocab\": {" + vocab + "}}}"},
      {"tokenizer_config.json", "{}"}};
}

// Hands out the groups of one version after another and keeps what comes in.
class FakeCoordinator final : public v1::CoordinatorService::Service {
 public:
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    std::lock_guard lock(mutex_);
    member_ = "m" + std::to_string(++registrations_);
    rollout_address_ = request->address();
    leased_.clear();
    declined_.clear();
    response->set_member_id(member_);
    response->mutable_heartbeat_interval()->set_nanos(100'000'000);
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request, v1::HeartbeatResponse*) override {
    std::lock_guard lock(mutex_);
    ++signs_of_life_;
    return request->member_id() == member_ ? grpc::Status::OK : grpc::Status(grpc::NOT_FOUND, "unknown member");
  }
  grpc::Status LeaseGroups(grpc::ServerContext*, const v1::LeaseGroupsRequest* request,
                           v1::LeaseGroupsResponse* response) override {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(request->wait().seconds());
    std::unique_lock lock(mutex_);
    ++signs_of_life_;
    full_calls_ += request->max_groups() == 0;
    give_backs_ += request->max_groups() == 0 && request->holding().empty();
    if (request->member_id() != member_) return {grpc::NOT_FOUND, "unknown member"};
    const std::set<uint64_t> holding(request->holding().begin(), request->holding().end());
    std::erase_if(leased_, [&](uint64_t id) { return !holding.contains(id); });
    for (const std::string& address : reward_addresses_) response->add_reward_addresses(address);
    do {
      for (auto& [id, task] : open_) {
        if (response->tasks_size() >= request->max_groups() || leased_.contains(id) || declined_.contains(id)) continue;
        leased_.insert(id);
        task.set_attempt(task.attempt() + 1);
        *response->add_tasks() = task;
      }
      if (response->tasks_size() > 0) break;
      changed_.wait_until(lock, until);
    } while (std::chrono::steady_clock::now() < until);
    if (response->tasks_size() > 0) *response->add_contexts() = context_;
    return grpc::Status::OK;
  }
  grpc::Status SubmitGroup(grpc::ServerContext*, const v1::SubmitGroupRequest* request,
                           v1::SubmitGroupResponse* response) override {
    std::lock_guard lock(mutex_);
    const uint64_t id = request->group().group_id();
    if (submit_failures_ > 0) return --submit_failures_, grpc::Status(grpc::UNAVAILABLE, "the journal is busy");
    response->set_accepted(open_.erase(id) > 0);
    if (!response->accepted()) response->set_reason("not outstanding");
    if (response->accepted()) groups_[id] = request->group();
    changed_.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status DeclineGroup(grpc::ServerContext*, const v1::DeclineGroupRequest* request,
                            v1::DeclineGroupResponse*) override {
    std::lock_guard lock(mutex_);
    if (request->member_id() != member_) return {grpc::NOT_FOUND, "unknown member"};
    declined_[request->group_id()] = request->reason();
    changed_.notify_all();
    return grpc::Status::OK;
  }

  void Open(const v1::TaskContext& context, const std::vector<v1::GroupTask>& tasks) {
    std::lock_guard lock(mutex_);
    context_ = context;
    for (const v1::GroupTask& task : tasks) open_[task.group_id()] = task;
    changed_.notify_all();
  }
  // All open groups, once they have come in.
  std::map<uint64_t, v1::Group> Await() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [this] { return open_.empty(); }))
        << open_.size() << " groups missing";
    return std::exchange(groups_, {});
  }
  // The reasons for which the worker has declined groups, once it has `count` of them.
  std::map<uint64_t, std::string> AwaitDeclined(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return declined_.size() >= count; }));
    return declined_;
  }
  void AwaitSome(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return groups_.size() >= count; }));
  }
  // As after a restart of the coordinator: it knows nobody.
  void Forget() {
    std::lock_guard lock(mutex_);
    member_.clear();
  }
  void SetRewardAddresses(std::vector<std::string> addresses) {
    std::lock_guard lock(mutex_);
    reward_addresses_ = std::move(addresses);
  }
  void FailSubmits(int count) {
    std::lock_guard lock(mutex_);
    submit_failures_ = count;
  }
  void SetWeightsAddress(const std::string& address) {
    std::lock_guard lock(mutex_);
    context_.set_weights_address(address);
  }
  std::string rollout_address() {
    std::lock_guard lock(mutex_);
    return rollout_address_;
  }
  // Calls that keep a worker's leases.
  int signs_of_life() {
    std::lock_guard lock(mutex_);
    return signs_of_life_;
  }
  // Those of a worker that holds none either: all groups are free for others.
  int give_backs() {
    std::lock_guard lock(mutex_);
    return give_backs_;
  }
  // LeaseGroups calls of a worker that wants no group.
  int full_calls() {
    std::lock_guard lock(mutex_);
    return full_calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int registrations_ = 0;
  int submit_failures_ = 0;
  int full_calls_ = 0;
  int give_backs_ = 0;
  int signs_of_life_ = 0;
  std::string member_, rollout_address_;
  std::vector<std::string> reward_addresses_;
  v1::TaskContext context_;
  std::map<uint64_t, v1::GroupTask> open_;
  std::set<uint64_t> leased_;
  std::map<uint64_t, v1::Group> groups_;
  std::map<uint64_t, std::string> declined_;  // by the present member
};

// Reward = number of tokens; unavailable for the first calls.
class FakeReward final : public v1::RewardService::Service {
 public:
  grpc::Status ScoreGroup(grpc::ServerContext*, const v1::ScoreGroupRequest* request,
                          v1::ScoreGroupResponse* response) override {
    std::lock_guard lock(mutex_);
    if (failures_ > 0) return --failures_, grpc::Status(failure_, "not now");
    if (short_answers_ > 0) return --short_answers_, grpc::Status::OK;
    for (const v1::Completion& completion : request->completions()) {
      v1::Verdict* verdict = response->add_verdicts();
      verdict->set_state(v1::REWARD_STATE_SCORED);
      verdict->set_reward(completion.token_count());
    }
    return grpc::Status::OK;
  }
  void Fail(int count, grpc::StatusCode code = grpc::UNAVAILABLE) {
    std::lock_guard lock(mutex_);
    failures_ = count;
    failure_ = code;
  }
  // Answers without a verdict.
  void AnswerShort(int count) {
    std::lock_guard lock(mutex_);
    short_answers_ = count;
  }

 private:
  std::mutex mutex_;
  int failures_ = 0;
  int short_answers_ = 0;
  grpc::StatusCode failure_ = grpc::UNAVAILABLE;
};

class WorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    ctx_ = kernels::KernelContext::Create(1);
    coordinator_server_ = RpcServer::Start({.listen = "127.0.0.1:0"}, {&coordinator_}).value();
    reward_server_ = RpcServer::Start({.listen = "127.0.0.1:0"}, {&reward_}).value();
    weight_server_ = RpcServer::Start({.listen = "127.0.0.1:0"}, {weights_.service()}).value();
    // The first address is dead: the other server is asked instead.
    coordinator_.SetRewardAddresses({"127.0.0.1:1", reward_server_->address()});
    StartWorker("");
  }
  void TearDown() override { StopWorker(SIGTERM); }

  void StartWorker(const std::string& crash_at, const std::string& kv_memory_mib = "8",
                   const std::string& hang_at = "") {
    const std::string coordinator = coordinator_server_->address();
    const std::string stall_seconds = std::to_string(stall_seconds_);
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ > 0) return;
    if (!log_path_.empty() && freopen(log_path_.c_str(), "w", stderr) == nullptr) _exit(126);
    if (!crash_at.empty()) setenv("HONE_CRASH_AT", crash_at.c_str(), 1);
    if (!hang_at.empty()) setenv("HONE_HANG_AT", hang_at.c_str(), 1);
    const std::string program = std::string(HONE_BIN_DIR) + "/hone-rollout-worker";
    execl(program.c_str(), program.c_str(), "--coordinator", coordinator.c_str(), "--listen=127.0.0.1:0", "--threads=1",
          "--kv_memory_mib", kv_memory_mib.c_str(), "--max_sequences=8", "--page_tokens=16", "--stall_seconds",
          stall_seconds.c_str(), nullptr);
    _exit(127);
  }
  // The exit status as waitpid gives it.
  int StopWorker(int signal) {
    int status = 0;
    if (pid_ <= 0) return 0;
    kill(pid_, signal);
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  int AwaitExit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  // Publishes version `number` and opens `groups` groups at it.
  void OpenVersion(int64_t number, int groups, uint64_t id_offset = 0) {
    const model::ModelConfig config = TinyConfig(model_);
    const model::FlatTensor masters = model::LivelyParameters(config, 100 + static_cast<uint64_t>(number));
    const auto snapshot = MakeSnapshot(*ctx_, config, masters, kernels::DType::kF32,
                                       {.run = "r", .number = number, .parent = number - 1}, TinyFiles(model_));
    weights_.Publish(snapshot);
    v1::TaskContext context;
    context.set_context_id("c" + std::to_string(number));
    context.set_run("r");
    context.set_stage("zero");
    context.set_run_seed(5);
    context.mutable_version()->set_number(number);
    context.mutable_version()->set_root_hash(snapshot->content_hash());
    context.set_weights_address(weights_address_.empty() ? weight_server_->address() : weights_address_);
    context.mutable_sampling()->set_max_new_tokens(max_new_tokens_);
    context.set_group_size(group_size_);
    context.set_overlong(v1::OVERLONG_POLICY_DROP);
    context.set_dtype(v1::DTYPE_FP32);
    context.add_rewards()->set_name("length");
    std::vector<v1::GroupTask> tasks;
    for (int g = 0; g < groups; ++g) {
      v1::GroupTask task;
      task.set_context_id(context.context_id());
      const uint64_t visit = static_cast<uint64_t>(number) * 1000 + static_cast<uint64_t>(g);
      task.set_group_id(visit + id_offset);
      task.set_stream(visit + 7);
      task.mutable_prompt()->set_id("p" + std::to_string(g));
      task.mutable_prompt()->set_prompt("w5 w6 w" + std::to_string(7 + g % 20));
      task.set_template_(v1::PROMPT_TEMPLATE_RAW);
      tasks.push_back(task);
    }
    hash_ = snapshot->content_hash();
    coordinator_.Open(context, tasks);
  }

  // Order, who made it and how often it was tried leave no trace.
  static std::string Content(const std::map<uint64_t, v1::Group>& groups) {
    std::string content;
    for (auto [id, group] : groups) {
      group.clear_attempt();
      group.clear_worker();
      group.clear_group_id();
      group.clear_generate_seconds();
      group.clear_reward_seconds();
      content += group.SerializeAsString() + "\n";
    }
    return content;
  }

  std::unique_ptr<kernels::KernelContext> ctx_;
  FakeCoordinator coordinator_;
  FakeReward reward_;
  WeightServer weights_;
  std::unique_ptr<RpcServer> coordinator_server_, reward_server_, weight_server_;
  pid_t pid_ = -1;
  std::string hash_;
  std::string weights_address_;  // instead of the weight server's
  std::string log_path_;         // of the next worker; "": the test's own output
  ModelSettings model_;
  int max_new_tokens_ = 20;
  int stall_seconds_ = 300;
  int group_size_ = kGroupSize;
};

TEST_F(WorkerTest, AWorkerWhoseEngineStandsStillLeavesItsGroupsToOthers) {
  StopWorker(SIGTERM);
  stall_seconds_ = 1;
  StartWorker("", "8", "worker.before_generate:3");
  OpenVersion(1, 2);
  EXPECT_EQ(coordinator_.Await().size(), 2u);
  OpenVersion(2, 6);
  // Two seconds without a call, where a living worker makes ten a second.
  const absl::Time deadline = absl::Now() + absl::Seconds(120);
  for (int calls = -1; calls != coordinator_.signs_of_life() && absl::Now() < deadline;) {
    calls = coordinator_.signs_of_life();
    absl::SleepFor(absl::Seconds(2));
  }
  EXPECT_LT(absl::Now(), deadline) << "the worker went on saying that it lives";
  const pid_t stalled = std::exchange(pid_, -1);
  stall_seconds_ = 300;
  EXPECT_EQ(waitpid(stalled, nullptr, WNOHANG), 0) << "it has ended";
  StartWorker("");
  EXPECT_EQ(coordinator_.Await().size(), 6u);
  kill(stalled, SIGKILL);
  waitpid(stalled, nullptr, 0);
}

TEST_F(WorkerTest, MakesScoresAndHandsInEachVersionsGroups) {
  coordinator_.FailSubmits(3);
  reward_.Fail(3);
  for (const int64_t version : {0, 1, 2}) {
    OpenVersion(version, 12);
    const auto groups = coordinator_.Await();
    ASSERT_EQ(groups.size(), 12u);
    for (const auto& [id, group] : groups) {
      ASSERT_EQ(group.state(), v1::GROUP_STATE_COMPLETE) << group.drop_reason();
      ASSERT_EQ(group.prompt_tokens_size(), 3);
      ASSERT_EQ(group.trajectories_size(), kGroupSize);
      for (const v1::Trajectory& t : group.trajectories()) {
        EXPECT_EQ(t.tokens_size(), t.rollout_logprobs_size());
        EXPECT_EQ(t.verdict().reward(), t.tokens_size());
        ASSERT_EQ(t.segments_size(), 1);
        EXPECT_EQ(t.segments(0).version(), version);
        EXPECT_EQ(t.segments(0).root_hash(), hash_);
        EXPECT_EQ(t.segments(0).count(), t.tokens_size());
        EXPECT_EQ(t.numerics_key(), ctx_->NumericsKey(kernels::DType::kF32));
      }
    }
  }
  EXPECT_TRUE(WIFEXITED(StopWorker(SIGTERM)));
}

TEST_F(WorkerTest, AGroupsStreamAndNotItsIdMakesItsTokens) {
  OpenVersion(0, 4);
  const std::string expected = Content(coordinator_.Await());
  OpenVersion(0, 4, /*id_offset=*/500);
  const auto groups = coordinator_.Await();
  EXPECT_TRUE(groups.contains(500));
  EXPECT_EQ(Content(groups), expected);
}

TEST_F(WorkerTest, KilledAnywhereTheSameGroupsComeIn) {
  OpenVersion(0, 10);
  const std::string expected = Content(coordinator_.Await());
  StopWorker(SIGKILL);
  for (const char* point :
       {"worker.before_generate:3", "worker.before_score:2", "worker.before_submit:4", "worker.after_submit:2"}) {
    StartWorker(point);
    OpenVersion(0, 10);
    EXPECT_EQ(AwaitExit(), 137) << point;
    StartWorker("");
    EXPECT_EQ(Content(coordinator_.Await()), expected) << point;
    StopWorker(SIGKILL);
  }
}

TEST_F(WorkerTest, RegistersAgainAndGoesOn) {
  OpenVersion(0, 40);
  coordinator_.AwaitSome(2);
  coordinator_.Forget();
  EXPECT_EQ(coordinator_.Await().size(), 40u);
}

// An address may be another process's by now: its answers say nothing about the group.
TEST_F(WorkerTest, AStrangerAtTheRewardServersAddressLosesNoGroup) {
  reward_.Fail(3, grpc::UNIMPLEMENTED);
  reward_.AnswerShort(2);
  OpenVersion(0, 4);
  for (const auto& [id, group] : coordinator_.Await()) {
    EXPECT_EQ(group.state(), v1::GROUP_STATE_COMPLETE) << group.drop_reason();
  }
  reward_.Fail(1, grpc::INVALID_ARGUMENT);
  OpenVersion(1, 1);
  for (const auto& [id, group] : coordinator_.Await()) {
    EXPECT_EQ(group.state(), v1::GROUP_STATE_DROPPED);
    EXPECT_EQ(group.drop_reason(), "reward: the reward server refuses the group: not now");
  }
}

// Many groups are dropped for one reason; the log has a line for each reason and not for each group.
TEST_F(WorkerTest, EachReasonForDroppingGroupsIsAWarningOnce) {
  StopWorker(SIGTERM);
  log_path_ = "worker_test." + std::to_string(getpid()) + ".log";
  StartWorker("");
  max_new_tokens_ = 64;  // the whole context
  for (const int64_t version : {0, 1}) {
    OpenVersion(version, 6);
    for (const auto& [id, group] : coordinator_.Await()) {
      EXPECT_EQ(group.state(), v1::GROUP_STATE_DROPPED);
      EXPECT_THAT(group.drop_reason(), testing::HasSubstr("the prompt has 3 tokens, at most 0 fit"));
    }
  }
  reward_.Fail(4, grpc::INVALID_ARGUMENT);
  max_new_tokens_ = 20;
  OpenVersion(2, 4);
  coordinator_.Await();
  StopWorker(SIGTERM);
  const std::string log = ReadFile(log_path_).value();
  unlink(log_path_.c_str());
  const auto lines = [&](const std::string& words) {
    int count = 0;
    for (size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(lines("is dropped"), 2) << log;
  EXPECT_EQ(lines("at most 0 fit"), 1) << log;
  EXPECT_EQ(lines("refuses the group: not now"), 1) << log;
}

// What a worker's memory cannot hold is no property of the run: the next one makes it.
TEST_F(WorkerTest, DeclinesWhatItsMemoryCannotHoldAndGoesOn) {
  StopWorker(SIGTERM);
  StartWorker("", "1");
  model_.max_positions = 4096;
  max_new_tokens_ = 4000;
  OpenVersion(0, 12);
  for (const auto& [id, reason] : coordinator_.AwaitDeclined(12)) {
    EXPECT_EQ(reason, "--kv_memory_mib: expected at least 2 for a prompt of 3 tokens with up to 4000 new ones, got 1");
  }
  // What fits is done by the same worker, with the same engine.
  max_new_tokens_ = 20;
  OpenVersion(1, 2);
  coordinator_.AwaitSome(2);
  StopWorker(SIGTERM);
  StartWorker("", "8");
  max_new_tokens_ = 4000;
  OpenVersion(0, 12);
  const auto groups = coordinator_.Await();
  ASSERT_EQ(groups.size(), 14u);
  for (const auto& [id, group] : groups) EXPECT_EQ(group.state(), v1::GROUP_STATE_COMPLETE) << group.drop_reason();
}

// Not even an engine can be made: pages of this model are larger than the cache.
TEST_F(WorkerTest, DeclinesEverythingOfAModelThatDoesNotFit) {
  StopWorker(SIGTERM);
  StartWorker("", "1");
  model_.heads = model_.kv_heads = 64;
  model_.head_dim = 128;
  OpenVersion(0, 3);
  for (const auto& [id, reason] : coordinator_.AwaitDeclined(3)) {
    EXPECT_THAT(reason, testing::HasSubstr("--kv_memory_mib=1: kv_cache_bytes: 1048576 bytes hold 0 pages"));
  }
}

// Whoever made it, it could not be handed in: without a word it would be made again for ever.
TEST_F(WorkerTest, AGroupThatNoRequestCanCarryIsDropped) {
  model_.word_bytes = 256 << 10;
  group_size_ = 12;
  OpenVersion(0, 1);
  const auto groups = coordinator_.Await();
  ASSERT_EQ(groups.size(), 1u);
  const v1::Group& group = groups.begin()->second;
  EXPECT_EQ(group.state(), v1::GROUP_STATE_DROPPED);
  EXPECT_EQ(group.trajectories_size(), 0);
  EXPECT_THAT(group.drop_reason(),
              testing::MatchesRegex("size: the group's record has [0-9]+ bytes, at most 49283072 .*"));
  // A smaller one passes.
  group_size_ = 1;
  max_new_tokens_ = 4;
  OpenVersion(1, 1);
  EXPECT_EQ(coordinator_.Await().begin()->second.state(), v1::GROUP_STATE_COMPLETE);
}

// The next worker would fetch the same files: each says why, and the run can end with that.
TEST_F(WorkerTest, DeclinesAModelWhoseTokenizerItCannotRead) {
  model_.tokenizer_type = "Unigram";
  OpenVersion(0, 3);
  for (const auto& [id, reason] : coordinator_.AwaitDeclined(3)) {
    EXPECT_THAT(reason, testing::HasSubstr("the model cannot be loaded: tokenizer.json: "));
  }
}

TEST_F(WorkerTest, DeclinesWhatNoRewardServerInReachScores) {
  StopWorker(SIGTERM);
  coordinator_.SetRewardAddresses({"127.0.0.1:1"});  // alive, says the coordinator
  stall_seconds_ = 1;
  StartWorker("");
  OpenVersion(0, 3);
  for (const auto& [id, reason] : coordinator_.AwaitDeclined(3)) {
    EXPECT_THAT(reason, testing::HasSubstr("no reward server can be reached from this worker: UNAVAILABLE"));
  }
  StopWorker(SIGTERM);
  coordinator_.SetRewardAddresses({reward_server_->address()});
  StartWorker("");
  EXPECT_EQ(coordinator_.Await().size(), 3u);
}

TEST_F(WorkerTest, GivesLeasesBackUntilTheVersionCanBeHad) {
  weight_server_->Shutdown(absl::ZeroDuration());
  OpenVersion(0, 4);
  // Groups are not merely leased anew in the same breath: others would never see them free.
  while (coordinator_.give_backs() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  weight_server_ = RpcServer::Start({.listen = "127.0.0.1:0"}, {weights_.service()}).value();
  coordinator_.SetWeightsAddress(weight_server_->address());
  EXPECT_EQ(coordinator_.Await().size(), 4u);
}

// The weights never come, so all that is leased stays queued: the worker is full, and only renews.
TEST_F(WorkerTest, AFullWorkerDoesNotSpin) {
  const int silent = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(silent, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(silent, 8), 0);
  ASSERT_EQ(getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size), 0);
  weights_address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  OpenVersion(0, 20);
  while (coordinator_.full_calls() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // a slow machine makes fewer calls, not more
  EXPECT_LE(coordinator_.full_calls(), 10);
  close(silent);
}

TEST_F(WorkerTest, ServesTheWeightsThatItHolds) {
  OpenVersion(0, 1);
  coordinator_.Await();
  const auto stub = v1::RolloutService::NewStub(CreateChannel(coordinator_.rollout_address()));
  v1::GenerateRequest request;
  request.set_prompt("w5 w6");
  request.set_samples(2);
  request.mutable_sampling()->set_max_new_tokens(10);
  v1::GenerateResponse response;
  {
    grpc::ClientContext context;
    const grpc::Status status = stub->Generate(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  ASSERT_EQ(response.trajectories_size(), 2);
  EXPECT_EQ(response.version().root_hash(), hash_);
  v1::ScoreTokensRequest score;
  *score.mutable_prompt_tokens() = response.prompt_tokens();
  *score.mutable_tokens() = response.trajectories(1).tokens();
  v1::ScoreTokensResponse scores;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->ScoreTokens(&context, score, &scores).ok());
  }
  ASSERT_EQ(scores.logprobs_size(), response.trajectories(1).rollout_logprobs_size());
  for (int i = 0; i < scores.logprobs_size(); ++i)
    EXPECT_EQ(scores.logprobs(i), response.trajectories(1).rollout_logprobs(i));
  request.mutable_sampling()->set_max_new_tokens(0);
  grpc::ClientContext context;
  const grpc::Status refused = stub->Generate(&context, request, &response);
  EXPECT_EQ(refused.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), testing::HasSubstr("max_new_tokens"));
}

}  // namespace
}  // namespace hone
