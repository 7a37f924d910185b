#include "rollout_worker/lease_table.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "base/logging.h"

namespace hone {

bool LeaseTable::SameVersion(const v1::TaskContext& a, const v1::TaskContext& b) {
  return a.run() == b.run() && a.version().number() == b.version().number() &&
         a.version().root_hash() == b.version().root_hash() && a.dtype() == b.dtype();
}

int LeaseTable::Sequences(const Entry& entry) { return std::max(1, entry.leased.context->group_size()); }

void LeaseTable::Add(const v1::LeaseGroupsResponse& response) {
  // A mere renewal is no change: whoever waits for one would call again at once, and so on.
  if (response.tasks().empty()) return;
  std::map<std::string, std::shared_ptr<const v1::TaskContext>> contexts;
  for (const v1::TaskContext& context : response.contexts()) {
    contexts[context.context_id()] = std::make_shared<const v1::TaskContext>(context);
  }
  {
    std::lock_guard lock(mutex_);
    for (const v1::GroupTask& task : response.tasks()) {
      const auto context = contexts.find(task.context_id());
      if (context == contexts.end()) {
        HONE_ERROR << "group " << task.group_id() << ": its context '" << task.context_id() << "' did not come with it";
        continue;
      }
      const auto [it, fresh] = entries_.try_emplace(task.group_id());
      it->second.leased.task.set_attempt(task.attempt());
      if (!fresh) continue;
      it->second.leased = {task, context->second};
      queue_.push_back(task.group_id());
      group_size_ = std::max(1, context->second->group_size());
      load_sequences_ += group_size_;
    }
    ++changes_;
  }
  changed_.notify_all();
}

std::shared_ptr<const v1::TaskContext> LeaseTable::NextContext() {
  std::lock_guard lock(mutex_);
  return queue_.empty() ? nullptr : entries_.at(queue_.front()).leased.context;
}

std::optional<LeasedTask> LeaseTable::Take(const v1::TaskContext* only) {
  std::lock_guard lock(mutex_);
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    Entry& entry = entries_.at(*it);
    if (only != nullptr && !SameVersion(*only, *entry.leased.context)) continue;
    entry.state = State::kGenerating;
    queue_.erase(it);
    return entry.leased;
  }
  return std::nullopt;
}

void LeaseTable::StartFinishing(uint64_t group_id) {
  {
    std::lock_guard lock(mutex_);
    const auto it = entries_.find(group_id);
    if (it == entries_.end() || it->second.state != State::kGenerating) return;
    it->second.state = State::kFinishing;
    const int sequences = Sequences(it->second);
    load_sequences_ -= sequences;
    finishing_sequences_ += sequences;
    ++changes_;
  }
  changed_.notify_all();
}

void LeaseTable::Remove(uint64_t group_id) {
  {
    std::lock_guard lock(mutex_);
    const auto it = entries_.find(group_id);
    if (it != entries_.end()) {
      (it->second.state == State::kFinishing ? finishing_sequences_ : load_sequences_) -= Sequences(it->second);
      entries_.erase(it);
    }
    ++changes_;
  }
  changed_.notify_all();
}

int LeaseTable::DropQueued(const v1::TaskContext& context, absl::Duration pause) {
  std::lock_guard lock(mutex_);
  give_back_ = true;
  paused_until_ = absl::Now() + pause;
  int dropped = 0;
  std::erase_if(queue_, [&](uint64_t id) {
    const auto it = entries_.find(id);
    if (!SameVersion(context, *it->second.leased.context)) return false;
    load_sequences_ -= Sequences(it->second);
    entries_.erase(it);
    ++dropped;
    return true;
  });
  ++changes_;
  changed_.notify_all();
  return dropped;
}

void LeaseTable::DropUnfinished() {
  {
    std::lock_guard lock(mutex_);
    std::erase_if(entries_, [](const auto& entry) { return entry.second.state != State::kFinishing; });
    queue_.clear();
    load_sequences_ = 0;
    ++changes_;
  }
  changed_.notify_all();
}

std::vector<uint64_t> LeaseTable::Held() {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> held;
  for (const auto& [id, entry] : entries_) held.push_back(id);
  return held;
}

int32_t LeaseTable::NewestAttempt(uint64_t group_id, int32_t attempt) {
  std::lock_guard lock(mutex_);
  const auto it = entries_.find(group_id);
  return it == entries_.end() ? attempt : std::max(attempt, it->second.leased.task.attempt());
}

int LeaseTable::Credit(int target_sequences) {
  std::lock_guard lock(mutex_);
  if (std::exchange(give_back_, false) || absl::Now() < paused_until_) return 0;
  const int load = load_sequences_ + std::max(0, finishing_sequences_ - target_sequences);
  return load >= target_sequences ? 0 : (target_sequences - load + group_size_ - 1) / group_size_;
}

uint64_t LeaseTable::changes() {
  std::lock_guard lock(mutex_);
  return changes_;
}

void LeaseTable::WaitForChange(uint64_t seen, absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::microseconds(absl::ToInt64Microseconds(timeout)),
                    [&] { return changes_ != seen; });
}

void LeaseTable::Wake() {
  {
    std::lock_guard lock(mutex_);
    ++changes_;
  }
  changed_.notify_all();
}

}  // namespace hone
