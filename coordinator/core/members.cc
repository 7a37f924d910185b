#include "coordinator/core/members.h"

#include <algorithm>

namespace hone::coordinator {
namespace {

const char* RolePrefix(v1::MemberRole role) {
  switch (role) {
    case v1::MEMBER_ROLE_ROLLOUT_WORKER:
      return "worker";
    case v1::MEMBER_ROLE_REWARD_SERVER:
      return "reward";
    case v1::MEMBER_ROLE_LEARNER:
      return "learner";
    default:
      return "member";
  }
}

}  // namespace

std::string Members::Add(const v1::RegisterRequest& request, absl::Time now) {
  std::string id = incarnation_ + "-" + RolePrefix(request.role()) + "-" + std::to_string(next_serial_);
  AddAs(id, request, now);
  return id;
}

void Members::AddAs(const std::string& id, const v1::RegisterRequest& request, absl::Time now) {
  MemberState& member = members_[id];
  member.serial = next_serial_++;
  member.role = request.role();
  member.name = request.name();
  member.address = request.address();
  member.numerics_keys.assign(request.numerics_keys().begin(), request.numerics_keys().end());
  member.last_seen = now;
}

MemberState* Members::Find(const std::string& id) {
  const auto it = members_.find(id);
  return it == members_.end() ? nullptr : &it->second;
}

std::vector<std::string> Members::RemoveSilent(absl::Time oldest) {
  std::vector<std::string> removed;
  for (auto it = members_.begin(); it != members_.end();) {
    if (it->second.last_seen < oldest) {
      removed.push_back(it->first);
      it = members_.erase(it);
    } else {
      ++it;
    }
  }
  return removed;
}

std::vector<std::string> Members::WorkerIds() const {
  std::vector<std::string> ids;
  for (const auto& [id, member] : members_) {
    if (member.role == v1::MEMBER_ROLE_ROLLOUT_WORKER) ids.push_back(id);
  }
  return ids;
}

std::vector<std::string> Members::RewardAddresses() const {
  std::vector<const MemberState*> servers;
  for (const auto& [id, member] : members_) {
    if (member.role == v1::MEMBER_ROLE_REWARD_SERVER) servers.push_back(&member);
  }
  std::sort(servers.begin(), servers.end(),
            [](const MemberState* a, const MemberState* b) { return a->serial < b->serial; });
  std::vector<std::string> addresses;
  addresses.reserve(servers.size());
  for (const MemberState* server : servers) addresses.push_back(server->address);
  return addresses;
}

}  // namespace hone::coordinator
