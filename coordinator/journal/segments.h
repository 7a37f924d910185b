// Reading a journal's files: the scan at start, and single frames later. Private to the journal.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/journal/journal.h"

namespace hone::coordinator {

// "<directory>/journal-<20 digits>.log"
std::string SegmentPath(const std::string& directory, int64_t base);

struct ScannedSegments {
  std::map<int64_t, std::string> segments;  // path by base
  int64_t end = 0;
};

// Visits every frame in order and cuts a torn end off the last segment (see Journal::Open).
absl::StatusOr<ScannedSegments> ScanSegments(const std::string& directory, const Journal::Visitor& visitor);

// The payload of the frame at byte `offset` of a segment file. DATA_LOSS where it is damaged.
absl::StatusOr<std::string> ReadFrame(const std::string& path, int64_t offset);

}  // namespace hone::coordinator
