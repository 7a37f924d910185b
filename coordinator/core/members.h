// Who is in the cluster: ephemeral, rebuilt by registrations after a restart. Pure and not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "hone/v1/coordinator.pb.h"

namespace hone::coordinator {

struct MemberState {
  int64_t serial = 0;  // order of registration
  v1::MemberRole role = v1::MEMBER_ROLE_UNSPECIFIED;
  std::string name;
  std::string address;
  std::vector<std::string> numerics_keys;
  std::map<std::string, double> gauges;
  absl::Time last_seen;
};

class Members {
 public:
  // More members than this are refused.
  static constexpr size_t kMaxMembers = 4096;

  // Ids are "<incarnation>-<role>-<n>": an id of an earlier life of the coordinator names nobody in this one.
  explicit Members(std::string incarnation) : incarnation_(std::move(incarnation)) {}

  std::string Add(const v1::RegisterRequest& request, absl::Time now);
  // With an id given by the caller (the learner's derives from its epoch, so that it outlives a restart).
  void AddAs(const std::string& id, const v1::RegisterRequest& request, absl::Time now);
  void Remove(const std::string& id) { members_.erase(id); }
  MemberState* Find(const std::string& id);
  const std::map<std::string, MemberState>& all() const { return members_; }
  // Removes and returns those not seen since `oldest`.
  std::vector<std::string> RemoveSilent(absl::Time oldest);
  // Ids of the living rollout workers.
  std::vector<std::string> WorkerIds() const;
  // Addresses of the living reward servers, in order of registration.
  std::vector<std::string> RewardAddresses() const;

 private:
  const std::string incarnation_;
  int64_t next_serial_ = 1;
  std::map<std::string, MemberState> members_;
};

}  // namespace hone::coordinator
