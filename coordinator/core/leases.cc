#include "coordinator/core/leases.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hone::coordinator {

void LeaseTable::Clear() {
  sets_.clear();
  items_.clear();
  free_.clear();
}

void LeaseTable::Open(WorkSet set, const std::set<int32_t>& recorded) { Insert(next_set_++, std::move(set), recorded); }

void LeaseTable::Replace(int key, WorkSet set, const std::set<int32_t>& recorded) {
  HONE_CHECK(OutstandingIn(key) == 0) << "set " << key << " has groups outstanding";
  sets_.erase(key);
  Insert(key, std::move(set), recorded);
}

void LeaseTable::Insert(int key, WorkSet set, const std::set<int32_t>& recorded) {
  for (int32_t slot = 0; slot < static_cast<int32_t>(set.tasks.size()); ++slot) {
    if (recorded.contains(slot)) continue;
    const uint64_t id = set.tasks[static_cast<size_t>(slot)].group_id();
    Item item;
    item.set = key;
    item.slot = slot;
    HONE_CHECK(items_.emplace(id, item).second) << "group id " << id << " twice in the open sets";
    free_[{key, slot}] = id;
  }
  sets_.emplace(key, std::move(set));
}

void LeaseTable::CloseExcept(const std::set<int>& keep) {
  std::erase_if(sets_, [&](const auto& entry) { return !keep.contains(entry.first); });
  std::erase_if(items_, [&](const auto& entry) { return !keep.contains(entry.second.set); });
  std::erase_if(free_, [&](const auto& entry) { return !keep.contains(entry.first.first); });
}

std::vector<v1::GroupTask> LeaseTable::Lease(const std::string& member, int max, size_t max_bytes, absl::Time expiry) {
  std::vector<v1::GroupTask> tasks;
  size_t bytes = 0;
  for (auto it = free_.begin(); it != free_.end() && static_cast<int>(tasks.size()) < max;) {
    Item& item = items_.at(it->second);
    if (item.declined_by.contains(member)) {
      ++it;
      continue;
    }
    v1::GroupTask task = sets_.at(item.set).tasks[static_cast<size_t>(item.slot)];
    task.set_attempt(item.attempt + 1);
    bytes += task.ByteSizeLong();
    if (bytes > max_bytes && !tasks.empty()) break;
    it = free_.erase(it);
    item.member = member;
    item.expiry = expiry;
    ++item.attempt;
    tasks.push_back(std::move(task));
  }
  return tasks;
}

void LeaseTable::Renew(const std::string& member, absl::Time expiry) {
  for (auto& [id, item] : items_) {
    if (item.member == member) item.expiry = expiry;
  }
}

void LeaseTable::Free(Item& item, uint64_t group_id) {
  item.member.clear();
  free_[{item.set, item.slot}] = group_id;
}

int LeaseTable::ReleaseExcept(const std::string& member, const std::set<uint64_t>& holding) {
  int released = 0;
  for (auto& [id, item] : items_) {
    if (item.member != member || holding.contains(id)) continue;
    Free(item, id);
    ++released;
  }
  return released;
}

void LeaseTable::Release(uint64_t group_id) {
  const auto it = items_.find(group_id);
  if (it != items_.end()) Free(it->second, group_id);
}

int LeaseTable::Refuse(uint64_t group_id, int32_t attempt) {
  Item& item = items_.at(group_id);
  if (attempt > item.refused_attempt) {
    item.refused_attempt = attempt;
    ++item.refusals;
  }
  Free(item, group_id);
  return item.refusals;
}

void LeaseTable::Decline(uint64_t group_id, const std::string& member, const std::string& reason) {
  const auto it = items_.find(group_id);
  if (it == items_.end()) return;
  Item& item = it->second;
  item.declined_by.insert(member);
  item.decline_reason = reason;
  if (item.member == member) Free(item, group_id);
}

void LeaseTable::NoteWorkers(const std::vector<std::string>& workers, absl::Time now) {
  for (auto& [id, item] : items_) {
    const bool stranded = !workers.empty() && item.member.empty() &&
                          std::all_of(workers.begin(), workers.end(),
                                      [&by = item.declined_by](const auto& worker) { return by.contains(worker); });
    item.stranded_since = stranded ? std::min(item.stranded_since, now) : absl::InfiniteFuture();
  }
}

const LeaseTable::Item* LeaseTable::LongestStranded() const {
  const Item* longest = nullptr;
  for (const auto& [id, item] : items_) {
    if (item.stranded_since == absl::InfiniteFuture()) continue;
    if (longest == nullptr || item.stranded_since < longest->stranded_since) longest = &item;
  }
  return longest;
}

int LeaseTable::Expire(absl::Time now) {
  int expired = 0;
  for (auto& [id, item] : items_) {
    if (item.member.empty() || item.expiry > now) continue;
    Free(item, id);
    ++expired;
  }
  return expired;
}

const LeaseTable::Item* LeaseTable::Find(uint64_t group_id) const {
  const auto it = items_.find(group_id);
  return it == items_.end() ? nullptr : &it->second;
}

void LeaseTable::MarkDone(uint64_t group_id) {
  const auto it = items_.find(group_id);
  if (it == items_.end()) return;
  free_.erase({it->second.set, it->second.slot});
  items_.erase(it);
}

int LeaseTable::Outstanding(v1::GroupPurpose purpose) const {
  int count = 0;
  for (const auto& [id, item] : items_) {
    count += SetOf(item).context.purpose() == purpose ? 1 : 0;
  }
  return count;
}

int LeaseTable::OutstandingIn(int set) const {
  int count = 0;
  for (const auto& [id, item] : items_) count += item.set == set ? 1 : 0;
  return count;
}

int LeaseTable::HeldBy(const std::string& member) const {
  int count = 0;
  for (const auto& [id, item] : items_) count += item.member == member ? 1 : 0;
  return count;
}

std::string DescribeTask(const WorkSet& set, int32_t slot) {
  const v1::GroupTask& task = set.tasks[static_cast<size_t>(slot)];
  return "group " + std::to_string(task.group_id()) + " (prompt '" + task.prompt().id() + "', " +
         (set.context.purpose() == v1::GROUP_PURPOSE_EVALUATE ? "evaluation after" : "training") + " step " +
         std::to_string(set.step) + ")";
}

}  // namespace hone::coordinator
