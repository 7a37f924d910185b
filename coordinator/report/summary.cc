#include "coordinator/report/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace hone::coordinator {
namespace {

using Json = nlohmann::ordered_json;

double ValueOr(const MetricMap& metrics, const std::string& name, double fallback) {
  const auto it = metrics.find(name);
  return it == metrics.end() ? fallback : it->second;
}

void Add(const StepRow& row, Totals* totals) {
  ++totals->steps;
  totals->rollout_tokens += ValueOr(row.metrics, "rollout/tokens", 0);
  totals->rollout_seconds += ValueOr(row.metrics, "rollout/seconds", 0);
  totals->train_tokens += ValueOr(row.metrics, "train/tokens", 0);
  totals->train_seconds += ValueOr(row.metrics, "train/seconds", 0);
  totals->compared_tokens += ValueOr(row.metrics, "rollout/compared_tokens", 0);
  const double diff = ValueOr(row.metrics, "rollout/logprob_diff_max", 0);
  // A NaN stays: it must not be lost in a comparison.
  if (std::isnan(diff) || diff > totals->max_abs_logprob_diff) totals->max_abs_logprob_diff = diff;
}

void Merge(const Totals& from, Totals* into) {
  into->steps += from.steps;
  into->rollout_tokens += from.rollout_tokens;
  into->rollout_seconds += from.rollout_seconds;
  into->train_tokens += from.train_tokens;
  into->train_seconds += from.train_seconds;
  into->compared_tokens += from.compared_tokens;
  if (std::isnan(from.max_abs_logprob_diff) || from.max_abs_logprob_diff > into->max_abs_logprob_diff) {
    into->max_abs_logprob_diff = from.max_abs_logprob_diff;
  }
}

StageSummary SummarizeStage(const RunHistory& history, const StageInfo& info) {
  StageSummary stage{.info = info};
  for (const StepRow& row : history.steps) {
    if (row.stage == info.name) Add(row, &stage.totals);
  }
  for (const EvaluationRow& row : history.evaluations) {
    if (row.stage != info.name) continue;
    if (!stage.first_evaluation || row.step < stage.first_evaluation->step) stage.first_evaluation = row;
    if (!stage.last_evaluation || row.step >= stage.last_evaluation->step) stage.last_evaluation = row;
  }
  for (const StageEnd& end : history.ends) {
    if (end.stage == info.name) stage.end = end;
  }
  stage.final_evaluation = stage.last_evaluation;
  for (const EvaluationRow& row : history.evaluations) {
    if (row.stage == info.name && stage.end && row.step == stage.end->weights_step) stage.final_evaluation = row;
  }
  return stage;
}

Json Optional(std::optional<double> value) { return value && std::isfinite(*value) ? Json(*value) : Json(nullptr); }

Json Whole(double value) { return static_cast<int64_t>(value); }

Json LogprobDiff(const Totals& totals) {
  if (totals.compared_tokens == 0) return nullptr;
  // The worst there is must not look like 'not measured', and JSON has no infinity.
  if (!std::isfinite(totals.max_abs_logprob_diff)) return "infinite";
  return totals.max_abs_logprob_diff;
}

Json EvaluationJson(const std::optional<EvaluationRow>& row) {
  if (!row) return nullptr;
  Json metrics = Json::object();
  for (const auto& [name, value] : row->metrics) metrics[name] = Optional(value);
  return {{"stage", row->stage}, {"step", row->step}, {"version", row->version}, {"metrics", metrics}};
}

void PutTotals(const Totals& totals, Json* json) {
  (*json)["rollout_tokens"] = Whole(totals.rollout_tokens);
  (*json)["rollout_tokens_per_s"] = Optional(totals.RolloutTokensPerSecond());
  (*json)["train_tokens"] = Whole(totals.train_tokens);
  (*json)["train_tokens_per_s"] = Optional(totals.TrainTokensPerSecond());
  (*json)["compared_tokens"] = Whole(totals.compared_tokens);
  (*json)["max_abs_logprob_diff"] = LogprobDiff(totals);
}

Json StageJson(const StageSummary& stage) {
  Json json = {{"name", stage.info.name}, {"kind", stage.info.kind}, {"steps", stage.totals.steps}};
  if (stage.totals.steps > 0) {
    PutTotals(stage.totals, &json);
    json["rollout_seconds"] = stage.totals.rollout_seconds;
    json["train_seconds"] = stage.totals.train_seconds;
  }
  json["first_evaluation"] = EvaluationJson(stage.first_evaluation);
  json["last_evaluation"] = EvaluationJson(stage.last_evaluation);
  json["final_evaluation"] = EvaluationJson(stage.final_evaluation);
  json["finished"] = stage.end.has_value();
  if (stage.end) {
    json["path"] = stage.end->path;
    if (!stage.end->root_hash.empty()) json["weights_step"] = stage.end->weights_step;
    json["weights_sha256"] = stage.end->root_hash.empty() ? Json(nullptr) : Json(stage.end->root_hash);
  }
  return json;
}

}  // namespace

std::optional<double> Totals::RolloutTokensPerSecond() const {
  if (rollout_seconds <= 0) return std::nullopt;
  return rollout_tokens / rollout_seconds;
}

std::optional<double> Totals::TrainTokensPerSecond() const {
  if (train_seconds <= 0) return std::nullopt;
  return train_tokens / train_seconds;
}

std::optional<double> EvalMetric(const std::optional<EvaluationRow>& row, const std::string& name) {
  if (!row) return std::nullopt;
  const auto it = row->metrics.find("eval/" + name);
  if (it == row->metrics.end()) return std::nullopt;
  return it->second;
}

RunSummary Summarize(const RunHistory& history, const RunStanding& standing) {
  RunSummary summary;
  summary.run = history.run;
  summary.spec_hash = history.spec_hash;
  summary.standing = standing;
  const bool has_rl =
      std::any_of(history.stages.begin(), history.stages.end(), [](const StageInfo& s) { return s.kind == "rl"; });
  std::optional<EvaluationRow> last;
  for (const StageInfo& info : history.stages) {
    summary.stages.push_back(SummarizeStage(history, info));
    const StageSummary& stage = summary.stages.back();
    if (stage.end && !stage.end->root_hash.empty()) summary.weights_sha256 = stage.end->root_hash;
    if (has_rl && info.kind != "rl") continue;
    Merge(stage.totals, &summary.totals);
    if (!summary.before) summary.before = stage.first_evaluation;
    if (stage.final_evaluation) {
      summary.after = stage.final_evaluation;
      last = stage.last_evaluation;
    }
  }
  // One evaluation alone is no comparison. (Several are one, even where the first weights were the best.)
  if (summary.before && last && summary.before->stage == last->stage && summary.before->step == last->step) {
    summary.after.reset();
  }
  return summary;
}

std::string SummaryJson(const RunSummary& summary) {
  Json json = {{"run", summary.run}, {"state", summary.standing.state}};
  json["error"] = summary.standing.error.empty() ? Json(nullptr) : Json(summary.standing.error);
  json["spec_hash"] = summary.spec_hash;
  const std::pair<const char*, const char*> figures[] = {{"pass_at_1", "pass_at_1"},
                                                         {"format", "format/mean"},
                                                         {"language_share", "language/mean"},
                                                         {"thinking_length", "thinking_length/mean"},
                                                         {"response_length", "response_length/mean"}};
  for (const auto& [key, metric] : figures) {
    json[std::string(key) + "_before"] = Optional(EvalMetric(summary.before, metric));
    json[std::string(key) + "_after"] = Optional(EvalMetric(summary.after, metric));
  }
  json["problems"] = Optional(EvalMetric(summary.before, "problems"));
  json["samples"] = Optional(EvalMetric(summary.before, "samples"));
  json["steps"] = summary.totals.steps;
  json["run_seconds"] = summary.standing.running_seconds;
  PutTotals(summary.totals, &json);
  json["dropped_groups"] = summary.standing.dropped_groups;
  json["unscorable_samples"] = summary.standing.unscorable_samples;
  json["weights_sha256"] = summary.weights_sha256.empty() ? Json(nullptr) : Json(summary.weights_sha256);
  json["before"] = EvaluationJson(summary.before);
  json["after"] = EvaluationJson(summary.after);
  json["stages"] = Json::array();
  for (const StageSummary& stage : summary.stages) json["stages"].push_back(StageJson(stage));
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hone::coordinator
