// What the learner says to the coordinator: one method a call, with retries while the coordinator is away.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "hone/v1/coordinator.pb.h"
#include "rpc/membership.h"

namespace grpc {
class Channel;
class ClientContext;
}  // namespace grpc

namespace hone::learner {

// How a stage goes on, as far as the coordinator has a say.
enum class Flow {
  kContinue,
  kStop,     // write a checkpoint and finish as stopped
  kFinish,   // the budget is used up: end the stage in order after the last step done
  kAbandon,  // drop the work, write nothing
};

// Thread-safe (but for set_while_waiting). Speaks with the identity given to Begin: a learner that was fenced or
// presumed dead cannot speak again under the old one. Every method may return ABORTED (that identity is void; drop the
// work) or CANCELLED (this process shuts down). UNAVAILABLE, RESOURCE_EXHAUSTED (its disk is full) and missed deadlines
// are retried without end.
class CoordinatorClient {
 public:
  CoordinatorClient(const std::shared_ptr<grpc::Channel>& channel, Membership* membership,
                    std::function<bool()> cancelled);
  ~CoordinatorClient();

  // Waits for the registration, and speaks under it from now on.
  absl::Status Begin();
  int64_t epoch() const { return identity_.learner_epoch; }
  bool cancelled() const { return cancelled_ && cancelled_(); }
  // Called between two long polls of AwaitRelease, FetchBatch and ReportStep, which end with its error. Null: none.
  void set_while_waiting(std::function<absl::Status()> while_waiting) { while_waiting_ = std::move(while_waiting); }

  // nullopt: nothing yet.
  absl::StatusOr<std::optional<v1::LearnerWork>> NextWork();
  // True where evaluation is due at this version. DATA_LOSS: it was published before with another root hash.
  absl::StatusOr<bool> PublishVersion(const v1::LearnerWork& work, const v1::PolicyVersion& version, int32_t step);
  // These three wait as long as it takes (also while the run is paused).
  absl::StatusOr<Flow> AwaitRelease(const v1::LearnerWork& work, int64_t version);
  struct Batch {
    std::vector<v1::Group> groups;
    int64_t journal_position = 0;
  };
  absl::StatusOr<Flow> FetchBatch(const v1::LearnerWork& work, int32_t step, Batch* batch);
  absl::StatusOr<Flow> ReportStep(const v1::LearnerWork& work, int32_t step, int32_t steps_total,
                                  const std::map<std::string, double>& metrics);
  // Checkpoint folders that may go.
  absl::StatusOr<std::vector<std::string>> ReportCheckpoint(const v1::LearnerWork& work, int32_t step,
                                                            const std::string& path, const std::string& root_hash,
                                                            int64_t journal_position);
  struct Finished {
    v1::WorkOutcome outcome = v1::WORK_OUTCOME_DONE;
    std::string error, path, root_hash;
    int32_t steps = 0;
  };
  absl::Status FinishWork(const v1::LearnerWork& work, const Finished& finished);

 private:
  // `call` gets a fresh context with the deadline set.
  using Call = std::function<absl::Status(grpc::ClientContext* context)>;
  absl::Status Retry(absl::Duration deadline, const Call& call);

  struct Stub;
  std::unique_ptr<Stub> stub_;
  Membership* membership_;
  std::function<bool()> cancelled_;
  std::function<absl::Status()> while_waiting_;
  Membership::Identity identity_;
};

}  // namespace hone::learner
