// What the projection takes from the journal in one transaction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/journal/journal.h"
#include "coordinator/store/store.h"

namespace hone::coordinator {

struct BatchLimits {
  size_t records = 512;
  // Of journal. Records differ in size by orders of magnitude, and a batch is held in memory: reading ends with the
  // record that reaches the limit.
  int64_t bytes = 64 << 20;
};

// The records that begin at `begin`, up to `end` or to a limit; at least one where begin < end, which must be durable.
// DATA_LOSS: a frame is damaged, or its payload is no record.
absl::StatusOr<std::vector<StoredRecord>> ReadBatch(const Journal& journal, int64_t begin, int64_t end,
                                                    const BatchLimits& limits = {});

}  // namespace hone::coordinator
