// RolloutService over the engine of a process: its handlers hand their work to the thread that owns the engine.
#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "hone/v1/rollout.pb.h"
#include "rollout_worker/loaded_model.h"

namespace grpc {
class Service;
}

namespace hone {

// Thread-safe but for the methods of "the engine's thread".
class RolloutServer {
 public:
  // `wake` is called when work for the engine's thread has come.
  RolloutServer(std::function<void()> wake, std::function<std::string(kernels::DType)> numerics_key);
  ~RolloutServer();
  grpc::Service* service();

  // The engine's thread: takes new calls up. Without a model they fail with FAILED_PRECONDITION.
  void Admit(LoadedModel* model);
  // The engine's thread: true where the result belonged to a call, which is answered then.
  bool Deliver(engine::GroupResult* result, const LoadedModel& model);
  // Generate calls in the engine.
  bool busy() const { return !generating_.empty(); }
  // Fails all calls, now and later.
  void Stop();

 private:
  class Service;
  struct Call {
    const v1::GenerateRequest* generate = nullptr;
    const v1::ScoreTokensRequest* score = nullptr;
    v1::GenerateResponse* generated = nullptr;
    v1::ScoreTokensResponse* scored = nullptr;
    bool opened = false;  // the prompt ends inside a think block
    std::promise<absl::Status> done;
  };
  absl::Status Do(std::shared_ptr<Call> call);
  absl::Status StartGenerate(LoadedModel* model, const std::shared_ptr<Call>& call);
  static absl::Status Score(LoadedModel* model, Call* call);

  const std::function<void()> wake_;
  const std::function<std::string(kernels::DType)> numerics_key_;
  std::unique_ptr<Service> service_;
  std::mutex mutex_;
  bool stopped_ = false;                                 // guarded by mutex_
  std::vector<std::shared_ptr<Call>> waiting_;           // guarded by mutex_
  std::map<int64_t, std::shared_ptr<Call>> generating_;  // the engine's thread only
};

}  // namespace hone
