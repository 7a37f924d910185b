// A learner, a rollout worker and a reward server without models, for tests: real gRPC calls, real order of calls, and
// weights that are a hash over everything that went into them. Two runs end with the same hash exactly if the learner
// saw the same groups in the same order.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "hone/v1/coordinator.grpc.pb.h"

namespace hone::coordinator {

// Owns a thread; stops and joins at destruction.
class FakeMember {
 public:
  virtual ~FakeMember();
  FakeMember(const FakeMember&) = delete;
  FakeMember& operator=(const FakeMember&) = delete;
  void Stop();

 protected:
  FakeMember(const std::string& address, v1::MemberRole role, std::string name);
  void Start(std::function<void()> body);
  bool stopping() const { return stopping_; }
  v1::CoordinatorService::Stub& stub() { return *stub_; }
  // Registers, again and again while nobody answers. False when stopping.
  bool Register();
  // Calls until the answer is not UNAVAILABLE.
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::CoordinatorService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                         Response*),
                    const Request& request, Response* response);

  std::string member_id_;
  int64_t epoch_ = 0;
  const std::string name_;

 private:
  const v1::MemberRole role_;
  std::unique_ptr<v1::CoordinatorService::Stub> stub_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Registers and sends heartbeats.
class FakeRewardServer final : public FakeMember {
 public:
  explicit FakeRewardServer(const std::string& address);
};

// Leases groups and submits trajectories that are a function of (group id, sample, root hash); idles after `max_groups`
// of them.
class FakeWorker final : public FakeMember {
 public:
  static constexpr int kNoLimit = 1 << 30;
  struct Habits {
    float logprob = -1;   // of every token
    std::string decline;  // declines every group for this reason; "" = none
  };
  FakeWorker(const std::string& address, const std::string& name, int max_groups = kNoLimit);
  FakeWorker(const std::string& address, const std::string& name, int max_groups, Habits habits);
  ~FakeWorker() override { Stop(); }

 private:
  void Work();
  bool Submit(const v1::GroupTask& task, const v1::TaskContext& context);
  bool Decline(const v1::GroupTask& task);

  int groups_left_;
  const Habits habits_;
};

// Carries out work. Checkpoints are entries of a map that outlives the learner, as folders would.
struct FakeDisk {
  std::mutex mutex;
  std::map<std::string, std::string> hash_by_path;
};
class FakeLearner final : public FakeMember {
 public:
  FakeLearner(const std::string& address, FakeDisk* disk);
  ~FakeLearner() override { Stop(); }

 private:
  void Work();
  bool Train(const v1::LearnerWork& work);
  // Each returns false where the work must be dropped.
  bool Publish(const v1::LearnerWork& work, int32_t step, const std::string& hash);
  bool Await(const v1::LearnerWork& work, int64_t version);
  v1::Directive Fetch(const v1::LearnerWork& work, int32_t step, std::string* hash);
  v1::Directive Report(const v1::LearnerWork& work, int32_t step);
  bool Checkpoint(const v1::LearnerWork& work, int32_t step, const std::string& hash);
  bool Finish(const v1::LearnerWork& work, v1::WorkOutcome outcome, int32_t steps, const std::string& path,
              const std::string& hash);
  std::string StartHash(const v1::LearnerWork& work);
  template <typename Request>
  void Fill(Request* request) {
    request->set_member_id(member_id_);
    request->set_learner_epoch(epoch_);
  }

  FakeDisk& disk_;
};

}  // namespace hone::coordinator
