#include "coordinator/report/chart_set.h"

#include <optional>
#include <set>
#include <utility>

namespace hone::coordinator {
namespace {

struct Line {
  const char* metric;
  const char* name;
};

// `metric` over the stage's steps.
ChartSeries OverSteps(const RunHistory& history, const std::string& stage, const std::string& metric,
                      std::string name) {
  ChartSeries series{std::move(name), {}, false};
  for (const StepRow& row : history.steps) {
    if (row.stage != stage) continue;
    if (const auto it = row.metrics.find(metric); it != row.metrics.end())
      series.points.emplace_back(row.step, it->second);
  }
  return series;
}

ChartSeries OverEvaluations(const RunHistory& history, const std::string& stage, const std::string& metric,
                            std::string name) {
  ChartSeries series{std::move(name), {}, true};
  for (const EvaluationRow& row : history.evaluations) {
    if (row.stage != stage) continue;
    if (const auto it = row.metrics.find(metric); it != row.metrics.end())
      series.points.emplace_back(row.step, it->second);
  }
  return series;
}

// The component name in "<prefix><component>/mean"; "" where `metric` is none such.
std::string ComponentOf(const std::string& metric, const std::string& prefix) {
  const std::string suffix = "/mean";
  if (metric.size() <= prefix.size() + suffix.size() || metric.compare(0, prefix.size(), prefix) != 0) return "";
  if (metric.compare(metric.size() - suffix.size(), suffix.size(), suffix) != 0) return "";
  return metric.substr(prefix.size(), metric.size() - prefix.size() - suffix.size());
}

template <typename Row>
std::set<std::string> Components(const std::vector<Row>& rows, const std::string& stage, const std::string& prefix) {
  std::set<std::string> names;
  for (const Row& row : rows) {
    if (row.stage != stage) continue;
    for (const auto& [metric, value] : row.metrics) {
      const std::string component = ComponentOf(metric, prefix);
      // Lengths have a chart of their own, in tokens.
      if (!component.empty() && component.find("length") == std::string::npos) names.insert(component);
    }
  }
  return names;
}

Chart RewardChart(const RunHistory& history, const std::string& stage) {
  Chart chart{"Reward", "mean of each step, by component", "step", {}, 0.0, std::nullopt};
  chart.series.push_back(OverSteps(history, stage, "reward/mean", "total"));
  for (const std::string& name : Components(history.steps, stage, "reward/")) {
    chart.series.push_back(OverSteps(history, stage, "reward/" + name + "/mean", name));
  }
  return chart;
}

Chart EvaluationChart(const RunHistory& history, const std::string& stage) {
  Chart chart{"Held-out evaluation", "pass@1, components", "step", {}, 0.0, 1.0};
  chart.series.push_back(OverEvaluations(history, stage, "eval/pass_at_1", "pass@1"));
  for (const std::string& name : Components(history.evaluations, stage, "eval/")) {
    // pass@1 is the accuracy's mean; its place is kept, so that a component has one colour here and in the reward's
    // chart. The total may leave the axis from 0 to 1.
    if (name == "reward") continue;
    chart.series.push_back(name == "accuracy" ? ChartSeries{name, {}, true}
                                              : OverEvaluations(history, stage, "eval/" + name + "/mean", name));
  }
  return chart;
}

Chart StepChart(const RunHistory& history, const std::string& stage, const char* title, const char* unit,
                const std::vector<Line>& lines, std::optional<double> y_min = std::nullopt) {
  Chart chart{title, unit, "step", {}, y_min, std::nullopt};
  for (const Line& line : lines) chart.series.push_back(OverSteps(history, stage, line.metric, line.name));
  return chart;
}

}  // namespace

std::vector<Chart> ChartsOf(const RunHistory& history, const std::string& stage) {
  const auto steps = [&](const char* title, const char* unit, const std::vector<Line>& lines,
                         std::optional<double> y_min = std::nullopt) {
    return StepChart(history, stage, title, unit, lines, y_min);
  };
  return {
      RewardChart(history, stage),
      EvaluationChart(history, stage),
      steps("Loss", "per token", {{"loss", "loss"}}),
      steps("Length", "tokens, mean", {{"response_length/mean", "response"}, {"thinking_length/mean", "thinking"}},
            0.0),
      steps("Entropy", "nats a token", {{"actor/entropy", "entropy"}}, 0.0),
      steps("KL divergence", "a token",
            {{"actor/ppo_kl", "to the rollout policy"}, {"actor/kl_loss", "to the reference"}}),
      steps(
          "Clip fraction", "share of tokens",
          {{"actor/pg_clipfrac", "both"}, {"actor/pg_clipfrac_lower", "lower"}, {"actor/pg_clipfrac_higher", "higher"}},
          0.0),
      steps("Gradient norm", "before clipping", {{"actor/grad_norm", "gradient norm"}}, 0.0),
      steps("Learning rate", "", {{"actor/lr", "learning rate"}}, 0.0),
      steps("Throughput", "tokens a second", {{"rollout/tokens_per_s", "rollout"}, {"train/tokens_per_s", "training"}},
            0.0),
      steps("Tokens trained on", "a step",
            {{"train/tokens", "all"}, {"train/shared_tokens", "of prompts, shared by samples"}}, 0.0),
      steps("Groups without signal", "share with equal rewards", {{"reward/zero_variance_share", "equal rewards"}},
            0.0),
      steps("Left out", "a step",
            {{"rollout/dropped_groups", "groups dropped"}, {"rollout/unscorable", "samples unscorable"}}, 0.0),
      steps("Cut off by length", "share of responses", {{"response_length/clip_ratio", "cut off"}}, 0.0),
  };
}

}  // namespace hone::coordinator
