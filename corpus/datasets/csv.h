// Comma-separated values (RFC 4180).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace hone::corpus::internal {

struct CsvRecord {
  int64_t line = 0;  // where it starts, from 1
  std::vector<std::string> fields;
};

// The records of `text`: fields divided by commas, records by line ends (\n or \r\n); a quoted field may hold both, and
// a quote as two. INVALID_ARGUMENT "<line>: ..." for a quote inside an unquoted field, text after a closing quote, or a
// quote that is never closed.
absl::StatusOr<std::vector<CsvRecord>> ParseCsv(std::string_view text);

}  // namespace hone::corpus::internal
