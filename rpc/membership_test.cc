#include "rpc/membership.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"

namespace hone {
namespace {

class FakeCoordinator final : public v1::CoordinatorService::Service {
 public:
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    std::lock_guard lock(mutex);
    last_register = *request;
    if (refuse) return ToGrpc(absl::FailedPreconditionError("numerics key 'x' does not fit"));
    response->set_member_id(absl::StrCat("m", ++registrations));
    response->set_learner_epoch(registrations);
    response->mutable_heartbeat_interval()->set_nanos(5'000'000);
    alive.insert(response->member_id());
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request, v1::HeartbeatResponse*) override {
    std::lock_guard lock(mutex);
    if (alive.count(request->member_id()) == 0) return ToGrpc(absl::NotFoundError("presumed dead"));
    ++beats;
    last_beat = *request;
    return grpc::Status::OK;
  }
  template <typename Condition>
  bool Eventually(Condition condition) {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;
         absl::SleepFor(absl::Milliseconds(2))) {
      std::lock_guard lock(mutex);
      if (condition()) return true;
    }
    return false;
  }
  std::mutex mutex;
  bool refuse = false;
  int registrations = 0;
  int beats = 0;
  std::set<std::string> alive;
  v1::RegisterRequest last_register;
  v1::HeartbeatRequest last_beat;
};

Membership::Options OptionsFor(const std::string& address) {
  Membership::Options options;
  options.channel = CreateChannel(address);
  options.role = v1::MEMBER_ROLE_LEARNER;
  options.name = "host:1";
  options.address = "127.0.0.1:5";
  options.numerics_keys = {"cpu/fp32"};
  return options;
}

TEST(MembershipTest, RegistersAndBeatsWithGauges) {
  FakeCoordinator coordinator;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&coordinator}).value();
  auto membership = Membership::Start(OptionsFor(server->address()));
  auto identity = membership->WaitUntilRegistered(nullptr);
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->member_id, "m1");
  EXPECT_EQ(identity->learner_epoch, 1);
  EXPECT_EQ(identity->generation, 1);
  membership->SetGauge("tokens", 7);
  EXPECT_TRUE(coordinator.Eventually([&] {
    const auto it = coordinator.last_beat.gauges().find("tokens");
    return it != coordinator.last_beat.gauges().end() && it->second == 7;
  }));
  std::lock_guard lock(coordinator.mutex);
  EXPECT_EQ(coordinator.last_register.role(), v1::MEMBER_ROLE_LEARNER);
  EXPECT_EQ(coordinator.last_register.address(), "127.0.0.1:5");
  EXPECT_EQ(coordinator.last_register.numerics_keys(0), "cpu/fp32");
}

TEST(MembershipTest, PresumedDeadRegistersAgain) {
  FakeCoordinator coordinator;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&coordinator}).value();
  std::mutex mutex;
  std::vector<std::string> seen;
  auto options = OptionsFor(server->address());
  options.on_registered = [&](const Membership::Identity& identity) {
    std::lock_guard lock(mutex);
    seen.push_back(identity.member_id);
  };
  auto membership = Membership::Start(options);
  ASSERT_TRUE(membership->WaitUntilRegistered(nullptr).ok());
  {
    std::lock_guard lock(coordinator.mutex);
    coordinator.alive.clear();
  }
  ASSERT_TRUE(coordinator.Eventually([&] { return membership->identity().generation == 2; }));
  membership->ReportLost("m1");  // old news
  membership->ReportLost("m2");
  ASSERT_TRUE(coordinator.Eventually([&] { return membership->identity().generation == 3; }));
  EXPECT_EQ(membership->WaitUntilRegistered(nullptr)->member_id, "m3");
  membership.reset();
  EXPECT_EQ(seen, (std::vector<std::string>{"m1", "m2", "m3"}));
}

TEST(MembershipTest, WithoutRegisterAgainALossIsTheEnd) {
  FakeCoordinator coordinator;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&coordinator}).value();
  auto options = OptionsFor(server->address());
  options.register_again = false;
  auto membership = Membership::Start(options);
  ASSERT_TRUE(membership->WaitUntilRegistered(nullptr).ok());
  membership->ReportLost("m1");
  ASSERT_TRUE(coordinator.Eventually([&] { return !membership->status().ok(); }));
  EXPECT_EQ(membership->WaitUntilRegistered(nullptr).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(coordinator.registrations, 1);
}

TEST(MembershipTest, OutlivesACoordinatorThatComesLateAndRestarts) {
  std::string address;
  {
    FakeCoordinator placeholder;
    address = RpcServer::Start({"127.0.0.1:0", ""}, {&placeholder}).value()->address();
  }
  auto membership = Membership::Start(OptionsFor(address));
  int polls = 0;
  EXPECT_EQ(membership->WaitUntilRegistered([&] { return ++polls > 3; }).status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(membership->status().ok());
  for (int life = 1; life <= 2; ++life) {
    FakeCoordinator coordinator;
    auto server = RpcServer::Start({address, ""}, {&coordinator});
    ASSERT_TRUE(server.ok()) << server.status();
    // The second one does not know the first one's members: NOT_FOUND, and a new registration.
    EXPECT_TRUE(coordinator.Eventually([&] { return coordinator.registrations == 1 && coordinator.beats > 0; }))
        << life;
  }
  EXPECT_EQ(membership->identity().generation, 2);
}

TEST(MembershipTest, RefusalIsShownWhileTryingGoesOn) {
  FakeCoordinator coordinator;
  coordinator.refuse = true;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&coordinator}).value();
  auto membership = Membership::Start(OptionsFor(server->address()));
  ASSERT_TRUE(coordinator.Eventually([&] { return absl::IsFailedPrecondition(membership->status()); }));
  {
    std::lock_guard lock(coordinator.mutex);
    coordinator.refuse = false;
  }
  EXPECT_TRUE(membership->WaitUntilRegistered(nullptr).ok());
  EXPECT_TRUE(membership->status().ok());
}

}  // namespace
}  // namespace hone
