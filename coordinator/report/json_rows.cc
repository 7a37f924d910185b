#include "coordinator/report/json_rows.h"

#include <cmath>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace hone::coordinator {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%E6SZ";

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string TimeText(absl::Time time) { return absl::FormatTime(kTimeFormat, time, absl::UTCTimeZone()); }

absl::Time ParseTimeText(const std::string& text) {
  absl::Time time;
  std::string error;
  return absl::ParseTime(kTimeFormat, text, &time, &error) ? time : absl::UnixEpoch();
}

MetricMap ReadMetrics(const Json& json) {
  MetricMap metrics;
  for (const auto& [name, value] : json.items()) {
    if (value.is_number()) {
      metrics[name] = value.get<double>();
    } else if (value == "nan") {
      metrics[name] = std::numeric_limits<double>::quiet_NaN();
    } else if (value == "inf" || value == "-inf") {
      metrics[name] = value == "inf" ? HUGE_VAL : -HUGE_VAL;
    }
  }
  return metrics;
}

// JSON has no such numbers, and a NaN must not look like an absent metric.
Json WriteMetrics(const MetricMap& metrics) {
  Json json = Json::object();
  for (const auto& [name, value] : metrics) {
    if (std::isfinite(value)) {
      json[name] = value;
    } else {
      json[name] = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    }
  }
  return json;
}

SampleRow ReadSample(const Json& json) {
  SampleRow row;
  row.stage = json.at("stage").get<std::string>();
  row.step = json.at("step").get<int>();
  // A string: not every JSON reader keeps 64 bits of a number.
  row.group_id = std::stoull(json.at("group_id").get<std::string>());
  row.sample_index = json.at("sample_index").get<int>();
  row.prompt_id = json.at("prompt_id").get<std::string>();
  row.prompt = json.at("prompt").get<std::string>();
  row.answer = json.at("answer").get<std::string>();
  row.text = json.at("text").get<std::string>();
  row.finish_reason = json.at("finish_reason").get<std::string>();
  row.tokens = json.at("tokens").get<int>();
  row.thinking_tokens = json.at("thinking_tokens").get<int>();
  row.scored = !json.at("reward").is_null();
  if (row.scored) row.reward = json.at("reward").get<double>();
  for (const Json& c : json.at("components")) {
    SampleComponent component;
    component.name = c.at("name").get<std::string>();
    component.state = c.at("state").get<std::string>();
    component.value = c.at("value").is_number() ? c.at("value").get<double>() : 0;
    component.weight = c.at("weight").is_number() ? c.at("weight").get<double>() : 0;
    component.reason = c.at("reason").get<std::string>();
    row.components.push_back(component);
  }
  return row;
}

}  // namespace

std::string ToJsonLine(const StepRow& row) {
  return Dump(Json{{"event", "step"},
                   {"stage", row.stage},
                   {"step", row.step},
                   {"time", TimeText(row.time)},
                   {"metrics", WriteMetrics(row.metrics)}});
}

std::string ToJsonLine(const EvaluationRow& row) {
  return Dump(Json{{"event", "evaluation"},
                   {"stage", row.stage},
                   {"step", row.step},
                   {"version", row.version},
                   {"time", TimeText(row.time)},
                   {"metrics", WriteMetrics(row.metrics)}});
}

std::string ToJsonLine(const SampleRow& row) {
  Json components = Json::array();
  for (const SampleComponent& c : row.components) {
    components.push_back(
        {{"name", c.name}, {"state", c.state}, {"value", c.value}, {"weight", c.weight}, {"reason", c.reason}});
  }
  return Dump(Json{{"stage", row.stage},
                   {"step", row.step},
                   {"group_id", std::to_string(row.group_id)},
                   {"sample_index", row.sample_index},
                   {"prompt_id", row.prompt_id},
                   {"prompt", row.prompt},
                   {"answer", row.answer},
                   {"text", row.text},
                   {"finish_reason", row.finish_reason},
                   {"tokens", row.tokens},
                   {"thinking_tokens", row.thinking_tokens},
                   {"reward", row.scored ? Json(row.reward) : Json(nullptr)},
                   {"components", components}});
}

absl::StatusOr<std::variant<StepRow, EvaluationRow>> ParseMetricsLine(std::string_view line) {
  try {
    const Json json = Json::parse(line);
    const std::string event = json.at("event").get<std::string>();
    const std::string stage = json.at("stage").get<std::string>();
    const int step = json.at("step").get<int>();
    const absl::Time time = ParseTimeText(json.at("time").get<std::string>());
    MetricMap metrics = ReadMetrics(json.at("metrics"));
    if (event == "step") return StepRow{stage, step, time, std::move(metrics)};
    if (event == "evaluation") {
      return EvaluationRow{stage, step, json.at("version").get<int64_t>(), time, std::move(metrics)};
    }
    return absl::InvalidArgumentError(absl::StrCat("unknown event '", event, "'"));
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(e.what());
  }
}

absl::StatusOr<SampleRow> ParseSampleLine(std::string_view line) {
  try {
    return ReadSample(Json::parse(line));
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(e.what());
  }
}

}  // namespace hone::coordinator
