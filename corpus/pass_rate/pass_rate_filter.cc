#include "corpus/pass_rate/pass_rate_filter.h"

#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/json_rows.h"
#include "base/status.h"
#include "base/strings.h"

namespace hone::corpus {
namespace {

using Json = nlohmann::json;

struct Tally {
  double sum = 0;
  int64_t samples = 0;
};

absl::Status LineError(const std::string& path, int64_t line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ":", line, ": ", what));
}

// The member's text; empty where it is absent or something else.
std::string Text(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// The member as an integer; 0 where it is absent, as protobuf leaves it out.
int64_t Number(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
}

// Adds one sample (a hone.v1.Sample in JSON) to its problem's tally.
// `measured_in` is where the first sample is from: all must be.
absl::Status AddSample(const PassRateOptions& options, const Json& sample, std::string* measured_in,
                       std::map<std::string, Tally>* tallies, PassRateReport* report) {
  const Json::json_pointer components("/trajectory/verdict/components");
  if (!sample.is_object() || !sample.contains("prompt_id") || !sample["prompt_id"].is_string() ||
      !sample.contains(components) || !sample[components].is_array()) {
    return absl::InvalidArgumentError("expected a sample with prompt_id and trajectory.verdict.components");
  }
  const std::string of =
      absl::StrCat("stage '", Text(sample, "stage"), "', step ", Number(sample, "step"), ", ", Text(sample, "purpose"));
  if (report->samples + report->unscorable == 0) *measured_in = of;
  if (of != *measured_in) {
    return absl::InvalidArgumentError(absl::StrCat("the sample is of ", of, ", the ones before of ", *measured_in,
                                                   ": pass rates of different weights are not one; choose with "
                                                   "`hone samples --stage --step --purpose`"));
  }
  for (const Json& component : sample[components]) {
    if (!component.is_object() || Text(component, "name") != options.component) continue;
    if (Text(component, "state") != "REWARD_STATE_SCORED") {
      ++report->unscorable;
      return absl::OkStatus();
    }
    const auto value = component.find("value");
    if (value == component.end() || !value->is_number())
      return absl::InvalidArgumentError("expected a number as value");
    Tally& tally = (*tallies)[sample["prompt_id"].get<std::string>()];
    tally.sum += value->get<double>();
    ++tally.samples;
    ++report->samples;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("the sample has no component '", options.component, "'"));
}

absl::StatusOr<std::map<std::string, Tally>> ReadSamples(const PassRateOptions& options, PassRateReport* report) {
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.samples_path));
  std::map<std::string, Tally> tallies;
  std::string measured_in;
  int64_t line_number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const Json sample = Json::parse(line.begin(), line.end(), nullptr, false);
    const absl::Status status = AddSample(options, sample, &measured_in, &tallies, report);
    if (!status.ok()) return LineError(options.samples_path, line_number, std::string(status.message()));
  }
  return tallies;
}

}  // namespace

absl::StatusOr<PassRateReport> FilterByPassRate(const PassRateOptions& options) {
  if (!(options.min_pass >= 0 && options.max_pass <= 1 && options.min_pass <= options.max_pass)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected 0 <= min_pass <= max_pass <= 1, got ", options.min_pass, " and ", options.max_pass));
  }
  PassRateReport report;
  HONE_ASSIGN_OR_RETURN(const auto tallies, ReadSamples(options, &report));
  HONE_ASSIGN_OR_RETURN(const std::string data, ReadFile(options.data_path));
  std::string kept;
  std::set<std::string> ids;
  double pass_sum = 0;
  int64_t line_number = 0;
  for (const absl::string_view line : absl::StrSplit(data, '\n')) {
    ++line_number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const absl::StatusOr<Json> row = ParseJsonRow({line.data(), line.size()});
    if (!row.ok()) return LineError(options.data_path, line_number, std::string(row.status().message()));
    const absl::StatusOr<std::string> id = RowId(*row, options.id_column, line_number);
    if (!id.ok()) return LineError(options.data_path, line_number, std::string(id.status().message()));
    if (!ids.insert(*id).second) {
      return LineError(options.data_path, line_number,
                       absl::StrCat("a second row with the id '", *id, "': a run would measure it under another name"));
    }
    ++report.rows;
    const auto tally = tallies.find(*id);
    if (tally == tallies.end()) continue;
    ++report.measured;
    const double pass = tally->second.sum / static_cast<double>(tally->second.samples);
    pass_sum += pass;
    if (pass < options.min_pass || pass > options.max_pass) continue;
    ++report.kept;
    absl::StrAppend(&kept, line, "\n");
  }
  report.mean_pass = report.measured == 0 ? 0 : pass_sum / static_cast<double>(report.measured);
  if (report.kept == 0) {
    return absl::FailedPreconditionError(absl::StrCat("no problem would be kept: of ", report.rows, " rows ",
                                                      report.measured, " were measured, with a mean pass rate of ",
                                                      report.mean_pass));
  }
  HONE_RETURN_IF_ERROR(WriteFileAtomic(options.out_path, kept));
  return report;
}

}  // namespace hone::corpus
