#include "coordinator/core/unrewarded.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace hone::coordinator {
namespace {

// How often each reason was given, in the order of its first mention.
class Reasons {
 public:
  void Add(const std::string& reason) {
    ++total_;
    for (Entry& entry : entries_) {
      if (entry.reason == reason) return void(++entry.count);
    }
    entries_.push_back({reason, 1});
  }
  // ": <the reason of all>" or ", in 3 of 4 groups with the reason: <the most frequent one>".
  std::string Describe() const {
    if (entries_.empty()) return "";
    const Entry* most = &entries_.front();
    for (const Entry& entry : entries_) {
      if (entry.count > most->count) most = &entry;
    }
    if (most->count == total_) return absl::StrCat(": ", most->reason);
    return absl::StrCat(", in ", most->count, " of ", total_, " groups with the reason: ", most->reason);
  }

 private:
  struct Entry {
    std::string reason;
    int64_t count;
  };
  std::vector<Entry> entries_;
  int64_t total_ = 0;
};

}  // namespace

std::string WhyUnrewarded(const std::vector<const GroupSummary*>& groups) {
  Reasons drops;
  Reasons unscorable;
  int64_t dropped = 0;
  int64_t samples = 0;
  for (const GroupSummary* group : groups) {
    if (group->scored > 0) return "";
    if (group->dropped) {
      ++dropped;
      drops.Add(group->drop_reason);
    } else {
      samples += group->samples;
      unscorable.Add(group->unscorable_reason);
    }
  }
  const auto total = static_cast<int64_t>(groups.size());
  if (total == 0) return "";
  const std::string unscored = absl::StrCat("are unscorable", unscorable.Describe());
  if (dropped == 0) return absl::StrCat("all samples (", samples, ") ", unscored);
  if (dropped == total) return absl::StrCat("all groups (", total, ") were dropped", drops.Describe());
  return absl::StrCat("of ", total, " groups ", dropped, " were dropped", drops.Describe(),
                      "; and all samples of the others (", samples, ") ", unscored);
}

}  // namespace hone::coordinator
