// Rows of metrics.jsonl and samples.jsonl, to and from one line of JSON each (without the line break).
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/status.h"
#include "coordinator/report/run_history.h"

namespace hone::coordinator {

std::string ToJsonLine(const StepRow& row);
std::string ToJsonLine(const EvaluationRow& row);
std::string ToJsonLine(const SampleRow& row);

// INVALID_ARGUMENT: not such an object. Metrics that are not finite are written as "nan", "inf" and "-inf".
absl::StatusOr<std::variant<StepRow, EvaluationRow>> ParseMetricsLine(std::string_view line);
absl::StatusOr<SampleRow> ParseSampleLine(std::string_view line);

}  // namespace hone::coordinator
