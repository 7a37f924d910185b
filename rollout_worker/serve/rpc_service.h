// RolloutService (Generate, ScoreTokens) over a generation loop.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "hone/v1/rollout.grpc.pb.h"
#include "rollout_worker/loaded_model.h"
#include "rollout_worker/serve/generation_loop.h"

namespace hone::serve {

// Thread-safe. All must outlive it.
class RpcService final : public v1::RolloutService::Service {
 public:
  RpcService(const ModelText& text, WeightVersion version, std::string numerics_key, GenerationLoop* loop)
      : text_(text), version_(std::move(version)), numerics_key_(std::move(numerics_key)), loop_(*loop) {}
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override;
  grpc::Status ScoreTokens(grpc::ServerContext* context, const v1::ScoreTokensRequest* request,
                           v1::ScoreTokensResponse* response) override;

 private:
  absl::Status Generated(grpc::ServerContext* context, const v1::GenerateRequest& request,
                         v1::GenerateResponse* response);

  const ModelText& text_;
  const WeightVersion version_;
  const std::string numerics_key_;
  GenerationLoop& loop_;
};

}  // namespace hone::serve
