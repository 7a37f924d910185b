#include "coordinator/service/projection_batch.h"

#include <string>
#include <utility>

#include "base/status.h"

namespace hone::coordinator {

absl::StatusOr<std::vector<StoredRecord>> ReadBatch(const Journal& journal, int64_t begin, int64_t end,
                                                    const BatchLimits& limits) {
  std::vector<StoredRecord> batch;
  for (int64_t position = begin; position < end && batch.size() < limits.records && position - begin < limits.bytes;) {
    StoredRecord stored;
    stored.span.begin = position;
    HONE_ASSIGN_OR_RETURN(const std::string payload, journal.Read(position, &position));
    stored.span.end = position;
    if (!stored.record.ParseFromString(payload)) return absl::DataLossError("a journal record does not parse");
    batch.push_back(std::move(stored));
  }
  return batch;
}

}  // namespace hone::coordinator
