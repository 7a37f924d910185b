// The groups that are to be generated now, and who is at work on which: ephemeral, made anew from durable state
// whenever the learner publishes a version or the coordinator restarts. Pure and not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "hone/v1/trajectory.pb.h"

namespace hone::coordinator {

// The groups of one training step or one evaluation, in the order fixed before generation.
struct WorkSet {
  v1::TaskContext context;
  int32_t step = 0;
  std::vector<v1::GroupTask> tasks;  // by slot
};

class LeaseTable {
 public:
  struct Item {
    int set = 0;  // key in sets()
    int32_t slot = 0;
    std::string member;  // "" = free
    absl::Time expiry;
    int32_t attempt = 0;                // leases given so far
    int refusals = 0;                   // attempts that were handed in malformed
    int32_t refused_attempt = 0;        // the newest of them
    std::set<std::string> declined_by;  // members that cannot do it
    std::string decline_reason;         // the last one's
    // Since when every living worker has declined it; InfiniteFuture where one has not.
    absl::Time stranded_since = absl::InfiniteFuture();
  };

  void Clear();
  // Opens a set; slots in `recorded` are done already. Group ids must be new to the table.
  void Open(WorkSet set, const std::set<int32_t>& recorded);
  // Puts a set in the place of the set `key`, whose groups are all done: in the order of leasing, too.
  void Replace(int key, WorkSet set, const std::set<int32_t>& recorded);
  // Closes the sets that are not in `keep`, by key, whoever is at work on them.
  void CloseExcept(const std::set<int>& keep);
  // By rising key: in the order in which they were opened.
  const std::map<int, WorkSet>& sets() const { return sets_; }
  const WorkSet& SetOf(const Item& item) const { return sets_.at(item.set); }

  // Leases up to `max` free groups that `member` has not declined, in the order of the sets and slots; each task
  // carries its new attempt number. Together they have at most `max_bytes`, but the first is leased whatever it has.
  std::vector<v1::GroupTask> Lease(const std::string& member, int max, size_t max_bytes, absl::Time expiry);
  // Renews every lease of `member`.
  void Renew(const std::string& member, absl::Time expiry);
  // Frees the leases of `member` that are not in `holding`; returns how many.
  int ReleaseExcept(const std::string& member, const std::set<uint64_t>& holding);
  // Frees one group, whoever holds it.
  void Release(uint64_t group_id);
  // Frees an outstanding group whose attempt `attempt` was malformed; returns how many attempts were by now. The same
  // attempt again (a repeated call) counts once.
  int Refuse(uint64_t group_id, int32_t attempt);
  // The member cannot do the group: it is freed where this member holds it, and not leased to it again. Nothing where
  // it is not outstanding.
  void Decline(uint64_t group_id, const std::string& member, const std::string& reason);
  // Brings every item's `stranded_since` up to date: `workers` are the living ones. Without any nothing is stranded.
  void NoteWorkers(const std::vector<std::string>& workers, absl::Time now);
  // The item that has been stranded for longest at the last NoteWorkers; nullptr where none was.
  const Item* LongestStranded() const;
  // Frees the leases that ended before `now`; returns how many.
  int Expire(absl::Time now);
  // nullptr where the group is not outstanding.
  const Item* Find(uint64_t group_id) const;
  void MarkDone(uint64_t group_id);

  // Groups not done yet, leased or free.
  int Outstanding(v1::GroupPurpose purpose) const;
  int OutstandingIn(int set) const;
  int Outstanding() const { return static_cast<int>(items_.size()); }
  int FreeCount() const { return static_cast<int>(free_.size()); }
  int HeldBy(const std::string& member) const;

 private:
  void Free(Item& item, uint64_t group_id);
  void Insert(int key, WorkSet set, const std::set<int32_t>& recorded);

  int next_set_ = 0;
  std::map<int, WorkSet> sets_;
  std::map<uint64_t, Item> items_;
  std::map<std::pair<int, int32_t>, uint64_t> free_;  // (set, slot) -> group id
};

// Names the group of an open task, for people.
std::string DescribeTask(const WorkSet& set, int32_t slot);

}  // namespace hone::coordinator
