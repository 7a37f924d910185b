// A coordinator of one stage, for the learner's tests: the protocol's bookkeeping, and groups made from the weights
// that the learner serves. What it has acknowledged survives any number of learners.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "hone/v1/coordinator.grpc.pb.h"
#include "kernels/ops.h"
#include "weight_sync/weight_receiver.h"

namespace hone::learner {

// Thread-safe.
class FakeCoordinator final : public v1::CoordinatorService::Service {
 public:
  // `work` as NextWork answers it, but for what is to be resumed.
  explicit FakeCoordinator(v1::LearnerWork work);

  // What the learner is told; called with the lock held. Null: CONTINUE.
  std::function<v1::Directive(int32_t step)> on_report_step, on_fetch_batch;
  std::function<v1::Directive(int64_t version)> on_await_release;
  std::function<bool(int32_t step)> evaluation_due;  // null: never

  // Everything heard so far.
  struct Record {
    std::map<int32_t, std::string> published;                  // root hash by step
    std::map<int32_t, std::map<std::string, double>> metrics;  // by step
    std::map<int32_t, std::string> checkpoints;                // path by step
    std::vector<std::string> calls;  // "publish 3", "report 3", "release 3", "checkpoint 3", ...
    std::optional<v1::FinishWorkRequest> finished;
    int32_t steps_total = 0;  // as last reported
    int alarms = 0;           // a version published again with other weights
    int registrations = 0;
  };
  Record record() const;
  // Waits until the work was finished.
  bool AwaitFinished(absl::Duration timeout) const;
  // Hands the work out again.
  void Reopen();
  // Forgets the learner, as if its heartbeats had stayed away, or as if another had registered.
  void Fence();

 private:
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest*, v1::RegisterResponse*) override;
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest*, v1::HeartbeatResponse*) override;
  grpc::Status NextWork(grpc::ServerContext*, const v1::NextWorkRequest*, v1::NextWorkResponse*) override;
  grpc::Status PublishVersion(grpc::ServerContext*, const v1::PublishVersionRequest*,
                              v1::PublishVersionResponse*) override;
  grpc::Status AwaitRelease(grpc::ServerContext*, const v1::AwaitReleaseRequest*, v1::AwaitReleaseResponse*) override;
  grpc::Status FetchBatch(grpc::ServerContext*, const v1::FetchBatchRequest*,
                          grpc::ServerWriter<v1::FetchBatchResponse>*) override;
  grpc::Status ReportStep(grpc::ServerContext*, const v1::ReportStepRequest*, v1::ReportStepResponse*) override;
  grpc::Status ReportCheckpoint(grpc::ServerContext*, const v1::ReportCheckpointRequest*,
                                v1::ReportCheckpointResponse*) override;
  grpc::Status FinishWork(grpc::ServerContext*, const v1::FinishWorkRequest*, v1::FinishWorkResponse*) override;

  template <typename Request>
  grpc::Status CheckEpoch(const Request& request) const;  // mutex_ held
  // The step whose weights sample the groups of `step`.
  int32_t SamplingStep(int32_t step) const;
  absl::StatusOr<std::vector<v1::Group>> MakeGroups(int32_t step, const std::string& root_hash,
                                                    const std::string& address);

  const v1::LearnerWork work_;
  const std::unique_ptr<kernels::KernelContext> kernels_ = kernels::KernelContext::Create(1);
  GrpcWeightReceiver receiver_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable finished_;
  Record record_;
  std::map<int32_t, std::vector<v1::Group>> journal_;  // by step
  std::string address_;
  int64_t epoch_ = 0;
};

}  // namespace hone::learner
