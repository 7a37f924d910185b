// A process's place in the cluster: registers with the coordinator, keeps the membership alive by heartbeats, registers
// anew when it was presumed dead, and goes on trying while the coordinator is away.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
}
namespace hone::v1 {
enum MemberRole : int;
}

namespace hone {

// Owns one background thread. Thread-safe.
//
// Rollout workers and learners that are answered NOT_FOUND (unknown member) or ABORTED (old learner epoch) by another
// call say so with ReportLost; each registration raises Identity::generation, which tells a caller that leases of
// before are void.
class Membership {
 public:
  struct Identity {
    std::string member_id;      // "" before the first registration
    int64_t learner_epoch = 0;  // learners only
    int64_t generation = 0;     // registrations so far
  };
  struct Options {
    std::shared_ptr<grpc::Channel> channel;  // to the coordinator (rpc/channel.h)
    v1::MemberRole role{};
    std::string name = DefaultMemberName();
    std::string address;                     // where this process serves gRPC
    std::vector<std::string> numerics_keys;  // may be empty for reward servers
    // Called from the background thread, without locks held, after each registration. May be empty.
    std::function<void(const Identity&)> on_registered;
    // A learner must not be revived silently: with false, a lost membership ends the thread and status() says why.
    bool register_again = true;
    // Asked before each heartbeat, from the background thread without locks held: while it answers false none is sent,
    // and the coordinator will presume this process dead. May be empty.
    std::function<bool()> alive;
  };

  // Returns at once; registration happens in the background.
  static std::unique_ptr<Membership> Start(Options options);
  // Cancels what is in flight and joins the thread.
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // Waits until registered (at once where it already is). CANCELLED: `cancelled` (may be empty) turned true.
  // FAILED_PRECONDITION where the membership was lost for good.
  absl::StatusOr<Identity> WaitUntilRegistered(const std::function<bool()>& cancelled);
  Identity identity() const;
  std::string member_id() const { return identity().member_id; }
  int64_t learner_epoch() const { return identity().learner_epoch; }
  // OK while registered or trying. The coordinator's refusal while it refuses (FAILED_PRECONDITION: the numerics key
  // does not fit the running run; asked again every 2 s), or why the membership ended (register_again = false).
  absl::Status status() const;

  // Another call was told that `member_id` is unknown or fenced. Registers anew at once if that is still the current
  // identity.
  void ReportLost(const std::string& member_id);
  // Sent with each heartbeat, for ListMembers: `hone status` shows a rollout worker's speed and cache use, its JSON
  // all.
  void SetGauge(const std::string& name, double value);

  // "<host>:<process id>".
  static std::string DefaultMemberName();

 private:
  struct Impl;
  explicit Membership(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone
