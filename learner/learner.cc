#include "learner/learner.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "learner/coordinator_client.h"
#include "learner/serve_export.h"
#include "learner/trainer.h"
#include "learner/work_session.h"
#include "rpc/channel.h"
#include "rpc/membership.h"
#include "rpc/retry.h"
#include "rpc/server.h"
#include "weight_sync/weight_server.h"

namespace hone::learner {
namespace {

// Between two calls that were answered without work: the waiting is the coordinator's, this only bounds the rate of
// asking.
constexpr absl::Duration kIdlePause = absl::Milliseconds(20);

absl::Status CheckWork(const v1::LearnerWork& work) {
  if (work.stage_index() < 0 || work.stage_index() >= work.spec().stages_size()) {
    return absl::InvalidArgumentError(absl::StrCat("work '", work.work_id(), "': stage_index ", work.stage_index(),
                                                   " is outside of ", work.spec().stages_size(), " stages"));
  }
  return absl::OkStatus();
}

absl::Status DoWork(WorkSession* session) {
  const v1::StageSpec& stage = session->stage();
  switch (session->work().kind()) {
    case v1::WORK_KIND_SERVE:
      return ServeWeights(session);
    case v1::WORK_KIND_EXPORT:
      return ExportWeights(session);
    case v1::WORK_KIND_TRAIN:
      if (stage.has_rl()) return TrainRl(session);
      if (stage.has_pretrain() || stage.has_sft()) return TrainSupervised(session);
      [[fallthrough]];
    default:
      return absl::InvalidArgumentError(absl::StrCat("work '", session->work().work_id(), "': kind ",
                                                     static_cast<int>(session->work().kind()), " does not fit stage '",
                                                     stage.name(), "'"));
  }
}

}  // namespace

struct Learner::Impl {
  std::function<bool()> cancelled;
  std::unique_ptr<kernels::KernelContext> kernels;
  WeightServer weights;
  std::unique_ptr<RpcServer> server;
  std::unique_ptr<Membership> membership;
  std::unique_ptr<CoordinatorClient> client;

  bool Cancelled() const { return cancelled && cancelled(); }

  // One piece of work, if there is any.
  absl::Status WorkOnce() {
    HONE_ASSIGN_OR_RETURN(const std::optional<v1::LearnerWork> work, client->NextWork());
    if (!work.has_value()) {
      SleepUnless(cancelled, kIdlePause);
      return absl::OkStatus();
    }
    HONE_INFO << "work: " << work->work_id();
    absl::Status status = CheckWork(*work);
    if (status.ok()) {
      WorkSession session({.kernels = kernels.get(), .client = client.get(), .weights = &weights}, *work);
      status = DoWork(&session);
    }
    if (status.ok() || absl::IsAborted(status) || Cancelled()) return status;
    HONE_ERROR << "work " << work->work_id() << " failed: " << status.ToString();
    return client->FinishWork(*work, {.outcome = v1::WORK_OUTCOME_FAILED, .error = std::string(status.message())});
  }
};

absl::StatusOr<std::unique_ptr<Learner>> Learner::Create(const Options& options) {
  auto impl = std::make_unique<Impl>();
  impl->cancelled = options.cancelled;
  impl->kernels = kernels::KernelContext::Create(options.threads);
  HONE_ASSIGN_OR_RETURN(impl->server, RpcServer::Start({.listen = options.listen, .address_file = options.address_file},
                                                       {impl->weights.service()}));
  const std::shared_ptr<grpc::Channel> channel = CreateChannel(options.coordinator);
  Membership::Options membership;
  membership.channel = channel;
  membership.role = v1::MEMBER_ROLE_LEARNER;
  membership.address = impl->server->address();
  // The coordinator forgets a learner only for its successor. To register again would fence that one, and so on for
  // ever.
  membership.register_again = false;
  membership.numerics_keys = {impl->kernels->NumericsKey(kernels::DType::kF32),
                              impl->kernels->NumericsKey(kernels::DType::kBf16)};
  impl->membership = Membership::Start(std::move(membership));
  impl->client = std::make_unique<CoordinatorClient>(channel, impl->membership.get(), options.cancelled);
  HONE_INFO << "serving weights at " << impl->server->address() << ", coordinator " << options.coordinator;
  return std::unique_ptr<Learner>(new Learner(std::move(impl)));
}

Learner::Learner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Learner::~Learner() = default;

absl::Status Learner::Run() {
  while (!impl_->Cancelled()) {
    absl::Status status = impl_->client->Begin();
    if (status.ok()) status = impl_->WorkOnce();
    if (impl_->Cancelled()) break;
    if (absl::IsAborted(status)) return Annotate(status, "another learner has registered and taken this one's place");
    if (!status.ok()) return status;
  }
  HONE_INFO << "shutting down";
  return absl::OkStatus();
}

}  // namespace hone::learner
