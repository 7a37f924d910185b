#include "rpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "hone/v1/reward.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Answers with one verdict for each completion; "block" waits until the call is cancelled.
class EchoReward final : public v1::RewardService::Service {
 public:
  grpc::Status ScoreGroup(grpc::ServerContext* context, const v1::ScoreGroupRequest* request,
                          v1::ScoreGroupResponse* response) override {
    if (request->prompt() == "block") {
      started.set_value();
      while (!context->IsCancelled()) usleep(1000);
      return ToGrpc(absl::AbortedError("was cancelled"));
    }
    if (request->prompt() == "fail") return ToGrpc(absl::FailedPreconditionError("no weights are loaded"));
    for (const v1::Completion& completion : request->completions()) {
      response->add_verdicts()->set_reward(static_cast<double>(completion.text().size()));
    }
    return grpc::Status::OK;
  }
  std::promise<void> started;
};

absl::Status Score(const std::string& address, const v1::ScoreGroupRequest& request, v1::ScoreGroupResponse* response) {
  auto stub = v1::RewardService::NewStub(CreateChannel(address));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(30));
  return FromGrpc(stub->ScoreGroup(&context, request, response));
}

TEST(StatusTest, AllCodesThereAndBack) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), absl::StrCat("why ", code));
    EXPECT_EQ(static_cast<int>(ToGrpc(status).error_code()), code);
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  }
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
}

TEST(RpcServerTest, ServesAtTheAddressItNames) {
  EchoReward service;
  const std::string file = absl::StrCat("rpc_server_test.", getpid(), ".address");
  auto server = RpcServer::Start({"127.0.0.1:0", file}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(ReadFile(file).value(), (*server)->address() + "\n");
  v1::ScoreGroupRequest request;
  request.add_completions()->set_text("abc");
  v1::ScoreGroupResponse response;
  ASSERT_TRUE(Score((*server)->address(), request, &response).ok());
  EXPECT_EQ(response.verdicts(0).reward(), 3);
  request.set_prompt("fail");
  EXPECT_EQ(Score((*server)->address(), request, &response), absl::FailedPreconditionError("no weights are loaded"));
  unlink(file.c_str());
}

TEST(RpcServerTest, CarriesMessagesFarBeyondGrpcsDefaultLimit) {
  EchoReward service;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&service});
  ASSERT_TRUE(server.ok());
  v1::ScoreGroupRequest request;
  request.add_completions()->set_text(std::string(20 << 20, 'x'));
  v1::ScoreGroupResponse response;
  ASSERT_TRUE(Score((*server)->address(), request, &response).ok());
  EXPECT_EQ(response.verdicts(0).reward(), 20 << 20);
}

TEST(RpcServerTest, PortInUseIsAnErrorThatNamesIt) {
  EchoReward service, other;
  auto first = RpcServer::Start({"127.0.0.1:0", ""}, {&service});
  ASSERT_TRUE(first.ok());
  auto second = RpcServer::Start({(*first)->address(), ""}, {&other});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("cannot listen on ", (*first)->address(), ": Address already in use")));
}

TEST(RpcServerTest, IllFormedAddressesAreRefused) {
  for (const char* listen : {"", "localhost", ":80", "host:", "host:port", "host:70000", "::1:80", "[]:80"}) {
    auto server = RpcServer::Start({listen, ""}, {});
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument) << listen;
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(absl::StrCat("got '", listen, "'")));
  }
}

TEST(RpcServerTest, WildcardHostIsGivenAsThisMachinesName) {
  EchoReward service;
  auto server = RpcServer::Start({"0.0.0.0:0", ""}, {&service});
  ASSERT_TRUE(server.ok());
  EXPECT_THAT((*server)->address(), ::testing::Not(HasSubstr("0.0.0.0")));
}

TEST(RpcServerTest, UnwritableAddressFileIsAnError) {
  EchoReward service;
  auto server = RpcServer::Start({"127.0.0.1:0", "no/such/folder/address"}, {&service});
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("no/such/folder/address"));
}

TEST(RpcServerTest, ShutdownCancelsCallsAfterTheGraceAndIsIdempotent) {
  EchoReward service;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&service});
  ASSERT_TRUE(server.ok());
  auto call = std::async(std::launch::async, [&] {
    v1::ScoreGroupRequest request;
    request.set_prompt("block");
    v1::ScoreGroupResponse response;
    return Score((*server)->address(), request, &response);
  });
  service.started.get_future().wait();
  (*server)->Shutdown(absl::Milliseconds(50));
  (*server)->Shutdown(absl::Milliseconds(50));
  EXPECT_FALSE(call.get().ok());
  v1::ScoreGroupResponse response;
  EXPECT_EQ(Score((*server)->address(), {}, &response).code(), absl::StatusCode::kUnavailable);
}

// The answer to one request of a method whose generated client the project does not have; streams are closed after it.
grpc::Status CallByName(const std::string& address, const std::string& method, const std::string& request,
                        std::string* answer) {
  grpc::GenericStub stub(CreateChannel(address));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(30));
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(&context, method, &queue);
  const auto wait = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const grpc::Slice slice(request);
  const grpc::ByteBuffer in(&slice, 1);
  grpc::ByteBuffer out;
  call->StartCall(nullptr);
  wait();
  call->WriteLast(in, grpc::WriteOptions(), nullptr);
  wait();
  call->Read(&out, nullptr);
  std::vector<grpc::Slice> slices;
  if (wait()) out.Dump(&slices);
  for (const grpc::Slice& s : slices) answer->append(reinterpret_cast<const char*>(s.begin()), s.size());
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  return status;
}

TEST(RpcServerTest, HealthFollowsSetServing) {
  EchoReward service;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&service}).value();
  const std::string method = "/grpc.health.v1.Health/Check";
  std::string serving, not_serving;
  ASSERT_TRUE(CallByName(server->address(), method, "", &serving).ok());
  EXPECT_EQ(serving, "\x08\x01");  // status: SERVING
  server->SetServing(false);
  ASSERT_TRUE(CallByName(server->address(), method, "", &not_serving).ok());
  EXPECT_EQ(not_serving, "\x08\x02");  // status: NOT_SERVING
}

TEST(RpcServerTest, ReflectionListsTheServices) {
  EchoReward service;
  auto server = RpcServer::Start({"127.0.0.1:0", ""}, {&service}).value();
  std::string services;
  // ServerReflectionRequest { list_services: "*" }
  ASSERT_TRUE(CallByName(server->address(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                         "\x3a\x01*", &services)
                  .ok());
  EXPECT_THAT(services, HasSubstr("hone.v1.RewardService"));
}

}  // namespace
}  // namespace hone
