#include "corpus/datasets/problem_rows.h"

namespace hone::corpus::internal {

absl::StatusOr<std::vector<ProblemRow>> ReadProblemRows(DatasetForm form, const std::string& text) {
  switch (form) {
    case DatasetForm::kGsm8k:
      return ReadGsm8k(text);
    case DatasetForm::kProblemJsonl:
      return ReadProblemJsonl(text);
    case DatasetForm::kSvampCsv:
      return ReadSvampCsv(text);
  }
  return absl::InternalError("an unknown form");
}

}  // namespace hone::corpus::internal
