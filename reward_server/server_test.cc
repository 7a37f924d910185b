// The reward server as a program: starts, registers, scores, ends in order.
#include "rpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "hone/v1/reward.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

class FakeCoordinator final : public v1::CoordinatorService::Service {
 public:
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    std::lock_guard lock(mutex);
    registered = *request;
    response->set_member_id("m1");
    response->mutable_heartbeat_interval()->set_nanos(20'000'000);
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request, v1::HeartbeatResponse*) override {
    std::lock_guard lock(mutex);
    beat = *request;
    return grpc::Status::OK;
  }
  std::mutex mutex;
  v1::RegisterRequest registered;
  v1::HeartbeatRequest beat;
};

template <typename Condition>
bool Eventually(Condition condition) {
  for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;
       absl::SleepFor(absl::Milliseconds(5))) {
    if (condition()) return true;
  }
  return false;
}

struct RewardServerTest : ::testing::Test {
  RewardServerTest() : prefix(absl::StrCat("reward_server_test.", getpid())) {}
  ~RewardServerTest() override {
    unlink((prefix + ".address").c_str());
    unlink((prefix + ".log").c_str());
  }
  std::unique_ptr<Subprocess> StartProgram(std::vector<std::string> flags) {
    SubprocessOptions options;
    options.argv = {std::string(HONE_BIN_DIR) + "/hone-reward-server"};
    options.argv.insert(options.argv.end(), flags.begin(), flags.end());
    options.output_path = prefix + ".log";
    return Subprocess::Start(options).value();
  }
  std::string Log() { return ReadFile(prefix + ".log").value(); }
  const std::string prefix;
};

TEST_F(RewardServerTest, RegistersScoresAndEndsInOrder) {
  FakeCoordinator coordinator;
  auto coordinator_server = RpcServer::Start({"127.0.0.1:0", ""}, {&coordinator}).value();
  auto program = StartProgram(
      {"--listen=127.0.0.1:0", "--address_file", prefix + ".address", "--coordinator", coordinator_server->address()});
  ASSERT_TRUE(Eventually([&] { return FileExists(prefix + ".address"); }));
  std::string address = ReadFile(prefix + ".address").value();
  address.pop_back();
  ASSERT_TRUE(Eventually([&] {
    std::lock_guard lock(coordinator.mutex);
    return coordinator.registered.address() == address &&
           coordinator.registered.role() == v1::MEMBER_ROLE_REWARD_SERVER;
  })) << Log();

  v1::ScoreGroupRequest request;
  request.add_rewards()->mutable_accuracy();
  request.set_answer("3");
  request.add_completions()->set_text("<answer>3</answer>");
  v1::ScoreGroupResponse response;
  auto stub = v1::RewardService::NewStub(CreateChannel(address));
  grpc::ClientContext context;
  ASSERT_TRUE(stub->ScoreGroup(&context, request, &response).ok());
  EXPECT_EQ(response.verdicts(0).reward(), 1);
  request.clear_rewards();
  grpc::ClientContext second;
  EXPECT_EQ(FromGrpc(stub->ScoreGroup(&second, request, &response)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard lock(coordinator.mutex);
    const auto it = coordinator.beat.gauges().find("reward/groups");
    return it != coordinator.beat.gauges().end() && it->second == 1;
  }));

  program->Signal(SIGTERM);
  EXPECT_EQ(program->Wait(absl::Seconds(60)), 0) << Log();
}

TEST_F(RewardServerTest, ServesBeforeItsCoordinatorIsThere) {
  auto program =
      StartProgram({"--listen=127.0.0.1:0", "--address_file", prefix + ".address", "--coordinator=127.0.0.1:1"});
  ASSERT_TRUE(Eventually([&] { return FileExists(prefix + ".address"); }));
  EXPECT_EQ(program->Poll(), std::nullopt);
  program->Signal(SIGTERM);
  EXPECT_EQ(program->Wait(absl::Seconds(60)), 0) << Log();
}

TEST_F(RewardServerTest, APortInUseAndBadFlagsEndWithAMessage) {
  FakeCoordinator other;
  auto taken = RpcServer::Start({"127.0.0.1:0", ""}, {&other}).value();
  EXPECT_EQ(StartProgram({"--listen", taken->address()})->Wait(absl::Seconds(60)), 1);
  EXPECT_THAT(Log(), HasSubstr("cannot listen on " + taken->address() + ": Address already in use"));
  EXPECT_EQ(StartProgram({"--listne=x"})->Wait(absl::Seconds(60)), 2);
  EXPECT_THAT(Log(), HasSubstr("unknown flag --listne; did you mean --listen?"));
  EXPECT_EQ(StartProgram({"--help"})->Wait(absl::Seconds(60)), 0);
  EXPECT_THAT(Log(), HasSubstr("Usage: hone-reward-server [flags]"));
}

}  // namespace
}  // namespace hone
