#include "rollout_worker/rollout_service.h"

#include <utility>

#include "hone/v1/rollout.grpc.pb.h"
#include "kernels/random.h"
#include "rollout_worker/group_text.h"
#include "rpc/status.h"

namespace hone {

class RolloutServer::Service final : public v1::RolloutService::Service {
 public:
  explicit Service(RolloutServer* server) : server_(server) {}
  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override {
    auto call = std::make_shared<Call>();
    call->generate = request;
    call->generated = response;
    return ToGrpc(server_->Do(std::move(call)));
  }
  grpc::Status ScoreTokens(grpc::ServerContext*, const v1::ScoreTokensRequest* request,
                           v1::ScoreTokensResponse* response) override {
    auto call = std::make_shared<Call>();
    call->score = request;
    call->scored = response;
    return ToGrpc(server_->Do(std::move(call)));
  }

 private:
  RolloutServer* server_;
};

RolloutServer::RolloutServer(std::function<void()> wake, std::function<std::string(kernels::DType)> numerics_key)
    : wake_(std::move(wake)), numerics_key_(std::move(numerics_key)), service_(std::make_unique<Service>(this)) {}
RolloutServer::~RolloutServer() { Stop(); }
grpc::Service* RolloutServer::service() { return service_.get(); }

absl::Status RolloutServer::Do(std::shared_ptr<Call> call) {
  std::future<absl::Status> done = call->done.get_future();
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return absl::UnavailableError("the worker is shutting down");
    waiting_.push_back(std::move(call));
  }
  wake_();
  return done.get();
}

void RolloutServer::Stop() {
  std::vector<std::shared_ptr<Call>> calls;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    calls.swap(waiting_);
  }
  for (auto& [handle, call] : generating_) calls.push_back(std::move(call));
  generating_.clear();
  for (const auto& call : calls) call->done.set_value(absl::UnavailableError("the worker is shutting down"));
}

void RolloutServer::Admit(LoadedModel* model) {
  std::vector<std::shared_ptr<Call>> calls;
  {
    std::lock_guard lock(mutex_);
    calls.swap(waiting_);
  }
  for (const auto& call : calls) {
    if (model->engine() == nullptr) {
      call->done.set_value(
          absl::FailedPreconditionError("no weights are loaded yet: the worker takes them with its first task"));
    } else if (call->score != nullptr) {
      call->done.set_value(Score(model, call.get()));
    } else if (const absl::Status status = StartGenerate(model, call); !status.ok()) {
      call->done.set_value(status);
    }
  }
}

absl::Status RolloutServer::StartGenerate(LoadedModel* model, const std::shared_ptr<Call>& call) {
  const v1::GenerateRequest& request = *call->generate;
  model::FramedPrompt prompt = FramedPromptOf(request, *model->text()->tokenizer);
  call->generated->mutable_prompt_tokens()->Add(prompt.tokens.begin(), prompt.tokens.end());
  engine::GroupRequest group = MakeGroupRequest(request.sampling(), std::move(prompt));
  call->opened = group.prompt_opens_thinking;
  group.samples = request.samples() == 0 ? 1 : request.samples();
  group.key = kernels::StreamKey(request.seed(), "generate");
  HONE_ASSIGN_OR_RETURN(const int64_t handle, model->engine()->SubmitGroup(std::move(group)));
  generating_[handle] = call;
  return absl::OkStatus();
}

absl::Status RolloutServer::Score(LoadedModel* model, Call* call) {
  const v1::ScoreTokensRequest& request = *call->score;
  const float temperature = request.temperature() == 0 ? 1.0f : static_cast<float>(request.temperature());
  HONE_ASSIGN_OR_RETURN(const engine::TokenScores scores,
                        model->engine()->Score({request.prompt_tokens().begin(), request.prompt_tokens().end()},
                                               {request.tokens().begin(), request.tokens().end()}, temperature));
  call->scored->mutable_logprobs()->Add(scores.logprobs.begin(), scores.logprobs.end());
  call->scored->mutable_entropies()->Add(scores.entropies.begin(), scores.entropies.end());
  SetPolicyVersion(model->version(), call->scored->mutable_version());
  return absl::OkStatus();
}

bool RolloutServer::Deliver(engine::GroupResult* result, const LoadedModel& model) {
  const auto it = generating_.find(result->handle);
  if (it == generating_.end()) return false;
  const std::shared_ptr<Call> call = it->second;
  generating_.erase(it);
  for (size_t i = 0; i < result->samples.size(); ++i) {
    *call->generated->add_trajectories() =
        MakeTrajectory(result->samples[i], static_cast<int>(i), call->opened, *model.text()->tokenizer, model.version(),
                       numerics_key_(model.dtype()));
  }
  SetPolicyVersion(model.version(), call->generated->mutable_version());
  call->done.set_value(absl::OkStatus());
  return true;
}

}  // namespace hone
