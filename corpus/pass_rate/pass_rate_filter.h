// `hone data filter`: keeps the problems whose measured pass rate lies in a range.
//
// Problems that a model always or never solves teach nothing under group-relative advantages (every sample of a group
// gets the same reward), so practitioners measure first and train on the rest.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace hone::corpus {

struct PassRateOptions {
  std::string data_path;     // the problems: JSON Lines
  std::string samples_path;  // `hone samples --all --output json` of an evaluation of them
  std::string out_path;
  std::string id_column = "id";        // of the data; the line number (from 1) where a row has none: as in training
  std::string component = "accuracy";  // the reward component that counts
  double min_pass = 0.05;              // both ends included
  double max_pass = 0.95;
};

struct PassRateReport {
  int64_t rows = 0;      // in the data
  int64_t measured = 0;  // with at least one scored sample
  int64_t kept = 0;
  int64_t samples = 0;  // scored ones; unscorable samples are not counted
  int64_t unscorable = 0;
  double mean_pass = 0;  // over the measured rows
};

// Writes the kept rows, unchanged and in their order (atomically). Rows that were not measured are left out.
// INVALID_ARGUMENT: a line is no row (base/json_rows.h) or has the id of an earlier one, a sample lacks the component
// or is of another stage, step or purpose than the first, the range is empty; the message names file and line.
// NOT_FOUND: no such file. FAILED_PRECONDITION: nothing would be kept; nothing is written.
absl::StatusOr<PassRateReport> FilterByPassRate(const PassRateOptions& options);

}  // namespace hone::corpus
