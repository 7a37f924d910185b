// Rows of public word-problem sets, in the forms that their files have. Private to datasets.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/datasets/datasets.h"

namespace hone::corpus::internal {

struct ProblemRow {
  std::string prompt;
  std::string answer;
  std::string solution;  // the published working, one step a line
};

// The problems in `text`, a file of form `form`, in its order. INVALID_ARGUMENT "<line>: <what is wrong>".
absl::StatusOr<std::vector<ProblemRow>> ReadProblemRows(DatasetForm form, const std::string& text);

// Of the forms one by one.
absl::StatusOr<std::vector<ProblemRow>> ReadGsm8k(const std::string& text);
absl::StatusOr<std::vector<ProblemRow>> ReadProblemJsonl(const std::string& text);
absl::StatusOr<std::vector<ProblemRow>> ReadSvampCsv(const std::string& text);

}  // namespace hone::corpus::internal
