#include "reward_server/server.h"

#include <grpcpp/grpcpp.h>

#include "absl/time/time.h"
#include "base/logging.h"
#include "hone/v1/coordinator.pb.h"
#include "hone/v1/reward.grpc.pb.h"
#include "reward_server/scorer.h"
#include "rpc/channel.h"
#include "rpc/membership.h"
#include "rpc/server.h"
#include "rpc/signals.h"
#include "rpc/status.h"

namespace hone::reward {
namespace {
constexpr absl::Duration kGrace = absl::Seconds(10);
constexpr absl::Duration kGaugePeriod = absl::Seconds(1);
}  // namespace

class RewardServer::Service final : public v1::RewardService::Service {
 public:
  grpc::Status ScoreGroup(grpc::ServerContext*, const v1::ScoreGroupRequest* request,
                          v1::ScoreGroupResponse* response) override {
    auto scored = reward::ScoreGroup(*request);
    if (!scored.ok()) {
      HONE_WARNING << "group " << request->group_id() << " refused: " << scored.status().ToString();
      return ToGrpc(scored.status());
    }
    *response = *std::move(scored);
    groups_.fetch_add(1);
    completions_.fetch_add(request->completions_size());
    for (const v1::Verdict& verdict : response->verdicts()) {
      if (verdict.state() == v1::REWARD_STATE_UNSCORABLE) unscorable_.fetch_add(1);
    }
    return grpc::Status::OK;
  }

  void Report(Membership& membership) const {
    membership.SetGauge("reward/groups", static_cast<double>(groups_.load()));
    membership.SetGauge("reward/completions", static_cast<double>(completions_.load()));
    membership.SetGauge("reward/unscorable", static_cast<double>(unscorable_.load()));
  }

 private:
  std::atomic<int64_t> groups_{0};
  std::atomic<int64_t> completions_{0};
  std::atomic<int64_t> unscorable_{0};
};

RewardServer::RewardServer() : service_(std::make_unique<Service>()) {}

RewardServer::~RewardServer() {
  membership_.reset();
  server_.reset();  // before the service that it calls
}

absl::StatusOr<std::unique_ptr<RewardServer>> RewardServer::Start(const Options& options) {
  std::unique_ptr<RewardServer> result(new RewardServer());
  HONE_ASSIGN_OR_RETURN(result->server_,
                        RpcServer::Start({options.listen, options.address_file}, {result->service_.get()}));
  HONE_INFO << "serving at " << result->address();
  if (options.coordinator.empty()) return result;
  Membership::Options membership;
  membership.channel = CreateChannel(options.coordinator);
  membership.role = v1::MEMBER_ROLE_REWARD_SERVER;
  membership.address = result->address();
  result->membership_ = Membership::Start(std::move(membership));
  return result;
}

std::string RewardServer::address() const { return server_->address(); }

void RewardServer::ServeUntil(ShutdownSignal& shutdown) {
  while (!shutdown.WaitFor(kGaugePeriod)) {
    if (membership_ != nullptr) service_->Report(*membership_);
  }
  membership_.reset();
  server_->Shutdown(kGrace);
}

}  // namespace hone::reward
