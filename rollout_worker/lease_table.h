// The groups that this worker holds leases of, from the coordinator's answer to the end of their way.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "hone/v1/coordinator.pb.h"

namespace hone {

struct LeasedTask {
  v1::GroupTask task;
  std::shared_ptr<const v1::TaskContext> context;
};

// Thread-safe: filled by the thread that leases, emptied by the one that generates, closed by those that finish.
//
// A group is queued, then generating, then finishing. Invariant: a group is held at most once, whatever the coordinator
// sends; a lease given again only renews its attempt number.
class LeaseTable {
 public:
  // Adds the tasks of an answer. Tasks whose context is missing are left out (they are leased again, being not held).
  void Add(const v1::LeaseGroupsResponse& response);
  // Takes the first queued task of the version at the queue's head or, with `only`, the first of that version and
  // dtype. It counts as generating from now on.
  std::optional<LeasedTask> Take(const v1::TaskContext* only);
  // The context of the queue's head: what should be loaded next. Null where nothing is queued.
  std::shared_ptr<const v1::TaskContext> NextContext();
  void StartFinishing(uint64_t group_id);  // generated: no longer counts as load
  void Remove(uint64_t group_id);
  // Gives up queued tasks of a version that cannot be had; returns how many. The next call of Credit, and those within
  // `pause`, want nothing, so that the groups are given back and others can lease them.
  int DropQueued(const v1::TaskContext& context, absl::Duration pause);
  // Gives up all that is not finishing; the groups that were generating are returned.
  void DropUnfinished();

  std::vector<uint64_t> Held();
  // The newest attempt number of a held group, at least `attempt`.
  int32_t NewestAttempt(uint64_t group_id, int32_t attempt);
  // How many more groups are wanted, to keep `target_sequences` in the engine or in its queue. Groups that are being
  // finished count where there are more of them than that: scoring is behind.
  int Credit(int target_sequences);
  // Counts additions, drops, ends and Wake calls. Read it before looking at the table, so that WaitForChange misses
  // nothing.
  uint64_t changes();
  // Waits until `changes()` is no longer `seen`, or the time is over.
  void WaitForChange(uint64_t seen, absl::Duration timeout);
  void Wake();

 private:
  enum class State { kQueued, kGenerating, kFinishing };
  struct Entry {
    State state = State::kQueued;
    LeasedTask leased;
  };
  static int Sequences(const Entry& entry);
  static bool SameVersion(const v1::TaskContext& a, const v1::TaskContext& b);

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::map<uint64_t, Entry> entries_;
  std::deque<uint64_t> queue_;
  int load_sequences_ = 0;       // of queued and generating groups
  int finishing_sequences_ = 0;  // of finishing ones
  int group_size_ = 8;           // of the newest context; before the first, a guess
  bool give_back_ = false;       // the next Credit is 0
  absl::Time paused_until_ = absl::InfinitePast();
  uint64_t changes_ = 0;
};

}  // namespace hone
