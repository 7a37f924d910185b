#include "coordinator/report/html_report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "coordinator/report/chart_set.h"
#include "coordinator/report/svg_chart.h"

namespace hone::coordinator {
namespace {

constexpr double kBarPixels = 140;      // of a share of 1
constexpr size_t kMaxShownText = 6000;  // bytes of one completion; samples.jsonl has all of it

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

std::string Grouped(double value) {
  std::string digits = absl::StrFormat("%.0f", value);
  for (int i = static_cast<int>(digits.size()) - 3; i > (digits[0] == '-' ? 1 : 0); i -= 3) digits.insert(i, "\u2009");
  return digits;
}

std::string Seconds(double seconds) {
  if (seconds < 120) return absl::StrFormat("%.0f s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 7200) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min", whole / 3600, whole / 60 % 60);
}

std::string Card(const std::string& name, const std::string& value_html, const std::string& note) {
  return absl::StrCat("<div class=\"card\"><div class=\"name\">", EscapeHtml(name), "</div><div class=\"value\">",
                      value_html, "</div><div class=\"note\">", EscapeHtml(note), "</div></div>\n");
}

std::string FromTo(std::optional<double> before, std::optional<double> after, std::string (*format)(double)) {
  if (!before && !after) return "";
  if (!after) return format(*before);
  if (!before) return format(*after);
  return absl::StrCat("<i>", format(*before), " →</i> ", format(*after));
}

std::string Tokens(double value) { return absl::StrFormat("%.1f", value); }

// Half the width of the 95 % interval of a share measured on `problems` problems, each taken as one observation
// (samples of one problem are not independent, so this errs on the wide side).
std::string Interval(const std::optional<EvaluationRow>& row) {
  const auto p = EvalMetric(row, "pass_at_1");
  const auto problems = EvalMetric(row, "problems");
  if (!p || !problems || *problems <= 0) return "";
  return absl::StrFormat("± %.1f points (95 %%), %s held-out problems",
                         196 * std::sqrt(std::max(0.0, *p * (1 - *p)) / *problems), ShortNumber(*problems));
}

std::string Cards(const RunSummary& summary) {
  std::string html;
  const auto compare = [&](const char* name, const char* metric, std::string (*format)(double),
                           const std::string& note) {
    const std::string value = FromTo(EvalMetric(summary.before, metric), EvalMetric(summary.after, metric), format);
    if (!value.empty()) html += Card(name, value, note);
  };
  compare("pass@1", "pass_at_1", Percent, Interval(summary.after ? summary.after : summary.before));
  compare("thinking length", "thinking_length/mean", Tokens, "tokens inside the think block, mean");
  compare("format", "format/mean", Percent, "think block, then answer block");
  compare("language share", "language/mean", Percent, "words in the prompt's language");
  if (summary.totals.compared_tokens > 0) {
    html += Card("rollout = learner", ShortNumber(summary.totals.max_abs_logprob_diff),
                 absl::StrCat("largest |Δ log-prob| over ", Grouped(summary.totals.compared_tokens), " tokens"));
  }
  if (const auto rate = summary.totals.RolloutTokensPerSecond()) {
    html += Card("generation", absl::StrCat(ShortNumber(std::round(*rate)), " <i>tokens/s</i>"),
                 absl::StrCat(Grouped(summary.totals.rollout_tokens), " tokens sampled"));
  }
  if (const auto rate = summary.totals.TrainTokensPerSecond()) {
    html += Card("training", absl::StrCat(ShortNumber(std::round(*rate)), " <i>tokens/s</i>"),
                 absl::StrCat(Grouped(summary.totals.train_tokens), " tokens trained on"));
  }
  // No mean contains these, so a reader must not overlook them.
  if (const int64_t dropped = summary.standing.dropped_groups; dropped > 0) {
    html += Card("dropped", absl::StrCat(Grouped(static_cast<double>(dropped)), " <i>groups</i>"),
                 "without samples, in no mean");
  }
  if (const int64_t unscorable = summary.standing.unscorable_samples; unscorable > 0) {
    html += Card("unscorable", absl::StrCat(Grouped(static_cast<double>(unscorable)), " <i>samples</i>"),
                 "without a reward, in no mean");
  }
  html += Card("time", Seconds(summary.standing.running_seconds), absl::StrCat(summary.totals.steps, " steps"));
  return html;
}

std::string TableCell(std::optional<double> value, bool share) {
  if (!value) return "<td class=\"n\">–</td>";
  const std::string bar = share ? absl::StrFormat("<span class=\"bar\" style=\"width:%.0fpx\"></span>",
                                                  kBarPixels * std::clamp(*value, 0.0, 1.0))
                                : "";
  return absl::StrCat("<td class=\"n\">", share ? Percent(*value) : ShortNumber(*value), bar, "</td>");
}

// "format/mean" -> "format", "pass_at_1" -> "pass@1", "thinking_length/mean" -> "thinking length".
std::string MetricTitle(std::string name) {
  if (name == "pass_at_1") return "pass@1";
  const std::string suffix = "/mean";
  if (name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0) {
    name.resize(name.size() - suffix.size());
  }
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string BeforeAfterTable(const RunSummary& summary) {
  if (!summary.before && !summary.after) return "";
  std::set<std::string> names;
  for (const auto* row : {&summary.before, &summary.after}) {
    if (!*row) continue;
    for (const auto& [name, value] : (*row)->metrics)
      names.insert(name.compare(0, 5, "eval/") == 0 ? name.substr(5) : name);
  }
  std::vector<std::string> ordered(names.begin(), names.end());
  std::stable_partition(ordered.begin(), ordered.end(), [](const std::string& name) { return name == "pass_at_1"; });
  const auto where = [](const std::optional<EvaluationRow>& row) {
    return row ? absl::StrCat(EscapeHtml(row->stage), ", step ", row->step) : std::string("not yet");
  };
  std::string html = absl::StrCat(
      "<h2>Before and after</h2><div class=\"scroll\"><table><tr><th>held-out evaluation</th><th class=\"n\">before (",
      where(summary.before), ")</th><th class=\"n\">after (", where(summary.after),
      ")</th><th class=\"n\">change</th></tr>\n");
  for (const std::string& name : ordered) {
    const auto before = EvalMetric(summary.before, name), after = EvalMetric(summary.after, name);
    const auto in_unit = [](std::optional<double> v) { return !v || (*v >= 0 && *v <= 1); };
    const bool count = name == "samples" || name == "problems" || name.find("length/mean") != std::string::npos;
    const bool share = !count && in_unit(before) && in_unit(after);
    std::string change = "–";
    if (before && after && *before != *after) {
      change = share ? absl::StrFormat("%+.1f points", 100 * (*after - *before))
                     : absl::StrFormat("%+.4g", *after - *before);
    }
    absl::StrAppend(&html, "<tr><td>", EscapeHtml(MetricTitle(name)), "</td>", TableCell(before, share),
                    TableCell(after, share), "<td class=\"n\">", change, "</td></tr>\n");
  }
  return html + "</table></div>\n";
}

std::string StageTable(const RunSummary& summary) {
  std::string html =
      "<h2>Stages</h2><div class=\"scroll\"><table><tr><th>stage</th><th>kind</th><th class=\"n\">steps</th><th "
      "class=\"n\">tokens trained</th><th class=\"n\">pass@1</th><th>final weights (sha256 of the fp32 "
      "masters)</th></tr>\n";
  for (const StageSummary& stage : summary.stages) {
    const bool moved =
        stage.first_evaluation && stage.last_evaluation && stage.first_evaluation->step != stage.last_evaluation->step;
    std::string pass = FromTo(EvalMetric(stage.first_evaluation, "pass_at_1"),
                              moved ? EvalMetric(stage.final_evaluation, "pass_at_1") : std::nullopt, Percent);
    absl::StrAppend(&html, "<tr><td>", EscapeHtml(stage.info.name), "</td><td>", EscapeHtml(stage.info.kind),
                    "</td><td class=\"n\">", stage.totals.steps > 0 ? Grouped(stage.totals.steps) : "–",
                    "</td><td class=\"n\">", stage.totals.train_tokens > 0 ? Grouped(stage.totals.train_tokens) : "–",
                    "</td><td class=\"n\">", pass.empty() ? "–" : pass, "</td><td><code>",
                    stage.end && !stage.end->root_hash.empty() ? EscapeHtml(stage.end->root_hash) : "–",
                    "</code></td></tr>\n");
  }
  return html + "</table></div>\n";
}

std::string StageCharts(const RunHistory& history, const RunSummary& summary) {
  std::string html;
  // The stages that matter most come first: reinforcement learning before what prepared it.
  for (const bool rl : {true, false}) {
    for (const StageSummary& stage : summary.stages) {
      if ((stage.info.kind == "rl") != rl) continue;
      std::string charts;
      for (const Chart& chart : ChartsOf(history, stage.info.name)) charts += SvgChart(chart);
      if (charts.empty()) continue;
      absl::StrAppend(&html, "<h2>", EscapeHtml(stage.info.name), " <small>", EscapeHtml(stage.info.kind),
                      "</small></h2><div class=\"charts\">\n", charts, "</div>\n");
    }
  }
  return html;
}

// `text` escaped, with its think and answer blocks set off.
std::string CompletionHtml(const std::string& full_text) {
  const std::string text(Utf8Prefix(full_text, kMaxShownText));
  const bool cut = text.size() < full_text.size();
  std::string html;
  size_t at = 0;
  for (const char* block : {"think", "answer"}) {
    const std::string open = absl::StrCat("<", block, ">"), close = absl::StrCat("</", block, ">");
    const size_t begin = text.find(open, at);
    if (begin == std::string::npos) continue;
    const size_t found = text.find(close, begin);
    const size_t end = found == std::string::npos ? text.size() : found + close.size();
    absl::StrAppend(&html, EscapeHtml(text.substr(at, begin - at)), "<span class=\"", block, "\">",
                    EscapeHtml(text.substr(begin, end - begin)), "</span>");
    at = end;
  }
  return absl::StrCat("<pre>", html, EscapeHtml(text.substr(at)), cut ? " … (cut; see samples.jsonl)" : "", "</pre>");
}

std::string SampleHtml(const SampleRow& sample) {
  std::string chips;
  for (const SampleComponent& c : sample.components) {
    const bool scored = c.state == "scored";
    const char* tone = !scored ? "" : c.value >= 1 ? " full" : c.value <= 0 ? " none" : "";
    absl::StrAppend(&chips, "<span class=\"chip", tone, "\" title=\"", EscapeHtml(c.reason), "\">", EscapeHtml(c.name),
                    " ", scored ? ShortNumber(c.value) : EscapeHtml(c.state), "</span>");
  }
  return absl::StrCat("<div class=\"completion\">", CompletionHtml(sample.text), chips, "<span class=\"chip\" title=\"",
                      EscapeHtml(sample.finish_reason), "\">", sample.tokens, " tokens</span></div>\n");
}

std::string SamplesSection(const RunHistory& history, const RunSummary& summary) {
  const auto of = [&](const std::optional<EvaluationRow>& row, const std::string& prompt_id) {
    std::string html;
    for (const SampleRow& sample : history.samples) {
      if (row && sample.stage == row->stage && sample.step == row->step && sample.prompt_id == prompt_id)
        html += SampleHtml(sample);
    }
    return html.empty() ? std::string("<p class=\"sub\">none kept</p>") : html;
  };
  std::string html;
  std::set<std::string> shown;
  for (const SampleRow& sample : history.samples) {
    const bool relevant =
        (summary.before && sample.stage == summary.before->stage && sample.step == summary.before->step) ||
        (summary.after && sample.stage == summary.after->stage && sample.step == summary.after->step);
    if (!relevant || !shown.insert(sample.prompt_id).second) continue;
    absl::StrAppend(&html, "<div class=\"pair\"><p><b>prompt</b> ", EscapeHtml(sample.prompt), "\n<b>reference</b> ",
                    EscapeHtml(sample.answer), "</p><div class=\"columns\"><div><h3>before</h3>",
                    of(summary.before, sample.prompt_id), "</div><div><h3>after</h3>",
                    of(summary.after, sample.prompt_id), "</div></div></div>\n");
  }
  return html.empty()
             ? ""
             : absl::StrCat("<h2>Samples <small>the same held-out prompts, before and after</small></h2>\n", html);
}

}  // namespace

std::string HtmlReport(const RunHistory& history, const RunSummary& summary) {
  const std::string state = EscapeHtml(summary.standing.state);
  std::string html = absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, "
      "initial-scale=1\"><title>",
      EscapeHtml(summary.run), " · Hone</title><style>", kReportStyle, "</style></head><body><main>\n<h1>",
      EscapeHtml(summary.run), "<span class=\"badge ", state, "\">", state, "</span></h1>\n<p class=\"sub\">");
  if (!history.steps.empty()) {
    absl::StrAppend(&html, absl::FormatTime("%Y-%m-%d %H:%M", history.steps.back().time, absl::UTCTimeZone()),
                    " UTC · ");
  }
  absl::StrAppend(&html, "weights ",
                  summary.weights_sha256.empty() ? "not yet final" : EscapeHtml(summary.weights_sha256), "</p>\n");
  if (!summary.standing.error.empty())
    absl::StrAppend(&html, "<p class=\"error\">", EscapeHtml(summary.standing.error), "</p>\n");
  absl::StrAppend(&html, "<div class=\"cards\">\n", Cards(summary), "</div>\n", BeforeAfterTable(summary),
                  StageCharts(history, summary), SamplesSection(history, summary), StageTable(summary),
                  "<h2>Run file</h2><details><summary>run.yaml, every default written out</summary><pre>",
                  EscapeHtml(history.run_text), "</pre></details>\n<footer>Written by Hone. Run file hash ",
                  EscapeHtml(summary.spec_hash),
                  ". The figures are in summary.json, metrics.jsonl and tensorboard/.</footer>\n",
                  "</main></body></html>\n");
  return html;
}

}  // namespace hone::coordinator
