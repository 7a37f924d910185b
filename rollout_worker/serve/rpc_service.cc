#include "rollout_worker/serve/rpc_service.h"

#include <chrono>
#include <utility>
#include <vector>

#include "kernels/random.h"
#include "rollout_worker/group_text.h"
#include "rpc/status.h"

namespace hone::serve {

grpc::Status RpcService::Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                                  v1::GenerateResponse* response) {
  return ToGrpc(Generated(context, *request, response));
}

absl::Status RpcService::Generated(grpc::ServerContext* context, const v1::GenerateRequest& request,
                                   v1::GenerateResponse* response) {
  model::FramedPrompt prompt = FramedPromptOf(request, *text_.tokenizer);
  response->mutable_prompt_tokens()->Add(prompt.tokens.begin(), prompt.tokens.end());
  engine::GroupRequest group = MakeGroupRequest(request.sampling(), std::move(prompt));
  group.samples = request.samples() == 0 ? 1 : request.samples();
  group.key = kernels::StreamKey(request.seed(), "generate");
  const bool opened = group.prompt_opens_thinking;
  const int count = group.samples;
  HONE_ASSIGN_OR_RETURN(const auto call, loop_.Submit(std::move(group)));
  std::vector<engine::SampledCompletion> samples(static_cast<size_t>(count));  // admitted, so within the limits
  while (!call->done()) {
    if (context->IsCancelled()) return absl::CancelledError("the client went away");
    for (SampleUpdate& update : call->Wait(std::chrono::milliseconds(200))) {
      engine::SampledCompletion& sample = samples[static_cast<size_t>(update.sample)];
      sample.tokens.insert(sample.tokens.end(), update.tokens.begin(), update.tokens.end());
      sample.logprobs.insert(sample.logprobs.end(), update.logprobs.begin(), update.logprobs.end());
      sample.forced.insert(sample.forced.end(), update.forced.begin(), update.forced.end());
      sample.finish = update.finish;
    }
  }
  if (call->cut_off()) return absl::UnavailableError("the server was shut down before the request was finished");
  for (size_t i = 0; i < samples.size(); ++i) {
    *response->add_trajectories() =
        MakeTrajectory(samples[i], static_cast<int>(i), opened, *text_.tokenizer, version_, numerics_key_);
  }
  SetPolicyVersion(version_, response->mutable_version());
  return absl::OkStatus();
}

grpc::Status RpcService::ScoreTokens(grpc::ServerContext*, const v1::ScoreTokensRequest* request,
                                     v1::ScoreTokensResponse* response) {
  const float temperature = request->temperature() == 0 ? 1.0f : static_cast<float>(request->temperature());
  const auto scores = loop_.Score({request->prompt_tokens().begin(), request->prompt_tokens().end()},
                                  {request->tokens().begin(), request->tokens().end()}, temperature, 0);
  if (!scores.ok()) return ToGrpc(scores.status());
  response->mutable_logprobs()->Add(scores->logprobs.begin(), scores->logprobs.end());
  response->mutable_entropies()->Add(scores->entropies.begin(), scores->entropies.end());
  SetPolicyVersion(version_, response->mutable_version());
  return grpc::Status::OK;
}

}  // namespace hone::serve
