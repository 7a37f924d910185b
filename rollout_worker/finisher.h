// What happens to a group once it is generated: made a record, scored by a reward server, handed in to the coordinator.
// Runs beside generation.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "hone/v1/trajectory.pb.h"
#include "rollout_worker/loaded_model.h"

namespace grpc {
class Channel;
class ClientContext;
class Status;
}  // namespace grpc

namespace hone {

class Membership;

// A generated group (or one that is dropped: then `group.state` says so and `result` is empty; or one that this worker
// declines: then only its ids matter).
struct GeneratedGroup {
  v1::Group group;       // all but the trajectories
  std::string declined;  // why this worker cannot make it, where another may; "" = it did
  std::shared_ptr<const v1::TaskContext> context;
  engine::GroupResult result;
  std::shared_ptr<const ModelText> text;
  WeightVersion version;
  std::string numerics_key;
};

// Owns a small pool of threads. Thread-safe. Invariants:
//   1. A group leaves only by an answer of the coordinator: calls are made again while reward server or coordinator are
//   away.
//   2. A transport failure never becomes a verdict.
//   3. A group whose record is over kMaxGroupBytes (rpc/limits.h) is dropped, with that as its reason.
class Finisher {
 public:
  struct Options {
    std::shared_ptr<grpc::Channel> coordinator;
    Membership* membership = nullptr;  // must outlive this object
    int threads = 2;
    // Called from a pool thread when a group's way is over; the newest attempt of a group, asked for at the last
    // moment.
    std::function<void(uint64_t group_id)> done;
    std::function<int32_t(uint64_t group_id, int32_t attempt)> newest_attempt;
    // Once the living reward servers have given no verdict for so long, groups are declined: they may be out of this
    // worker's reach alone.
    absl::Duration patience = absl::InfiniteDuration();
  };
  explicit Finisher(Options options);
  ~Finisher();  // gives up what is not handed in
  Finisher(const Finisher&) = delete;
  Finisher& operator=(const Finisher&) = delete;

  void Add(GeneratedGroup generated);
  // Living reward servers. While there is none the ones of before are tried, with patience without end.
  void SetRewardAddresses(std::vector<std::string> addresses);

 private:
  void Run();
  bool cancelled();
  // Makes one call that the destructor can cancel.
  absl::Status Invoke(absl::Duration deadline, const std::function<grpc::Status(grpc::ClientContext*)>& call);
  void Finish(GeneratedGroup generated);
  static void MakeTrajectories(GeneratedGroup* generated);
  // A warning of a dropped group and of samples without a reward; one line in the log for each reason of a run.
  void WarnOfLosses(const v1::Group& group);
  void WarnOnce(const v1::Group& group, const std::string& what);
  enum class Scoring { kDone, kOutOfReach, kShutDown };
  // kOutOfReach: `why` says what the reward servers answered last.
  Scoring Score(const v1::TaskContext& context, v1::Group* group, std::string* why);
  bool PatienceIsOver();
  bool Submit(const v1::TaskContext& context, v1::Group* group);
  bool Decline(uint64_t group_id, const std::string& reason);
  // Calls until the coordinator has answered, as the member that this worker is then.
  using CoordinatorCall = std::function<grpc::Status(grpc::ClientContext*, const std::string& member_id)>;
  bool CallCoordinator(uint64_t group_id, const CoordinatorCall& call);
  std::shared_ptr<grpc::Channel> RewardChannel(size_t attempt);

  const Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  bool stopping_ = false;
  std::deque<GeneratedGroup> queue_;
  std::set<grpc::ClientContext*> calls_;
  std::vector<std::string> reward_addresses_;
  bool reward_alive_ = false;
  absl::Time no_verdict_since_ = absl::InfiniteFuture();  // of a failed call; of none since the last verdict: future
  size_t next_reward_ = 0;
  std::map<std::string, std::shared_ptr<grpc::Channel>> reward_channels_;
  std::string warned_run_;
  std::set<std::string> warned_;      // what was said of that run
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace hone
