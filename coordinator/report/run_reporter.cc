#include "coordinator/report/run_reporter.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/strings.h"
#include "coordinator/report/event_file.h"
#include "coordinator/report/html_report.h"
#include "coordinator/report/json_rows.h"
#include "coordinator/report/summary.h"
#include "hone/v1/control.pb.h"
#include "hone/v1/trajectory.pb.h"

namespace hone::coordinator {
namespace {

constexpr char kMetricsFile[] = "metrics.jsonl";
constexpr char kSamplesFile[] = "samples.jsonl";
constexpr char kEventFolder[] = "tensorboard";

// Hands each line of the file to `keep`, which returns false for a line to drop (torn by a crash, or a repetition); a
// file with dropped lines is written anew without them. An absent file has no lines.
absl::Status KeepGoodLines(const std::string& path, const std::function<bool(std::string_view)>& keep) {
  if (!FileExists(path)) return absl::OkStatus();
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const bool whole = end != std::string::npos;
    const std::string_view line = std::string_view(text).substr(begin, whole ? end - begin : std::string::npos);
    if (whole && keep(line)) absl::StrAppend(&kept, ToAbsl(line), "\n");
    begin = whole ? end + 1 : text.size();
  }
  if (kept.size() == text.size()) return absl::OkStatus();
  HONE_WARNING << path << ": dropped " << text.size() - kept.size() << " bytes that an interrupted write left";
  return WriteFileAtomic(path, kept);
}

std::string EnumText(const std::string& name, std::string_view prefix) {
  return absl::AsciiStrToLower(name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : name);
}

SampleRow RowOf(const std::string& stage, int step, const v1::Group& group, const v1::Trajectory& trajectory) {
  SampleRow row;
  row.stage = stage;
  row.step = step;
  row.group_id = group.group_id();
  row.sample_index = trajectory.sample_index();
  row.prompt_id = group.prompt_id();
  row.prompt = group.prompt_text();
  row.answer = group.answer();
  row.text = trajectory.text();
  row.finish_reason = EnumText(v1::FinishReason_Name(trajectory.finish_reason()), "FINISH_REASON_");
  row.tokens = trajectory.tokens_size();
  row.thinking_tokens = trajectory.thinking_tokens();
  row.scored = trajectory.verdict().state() == v1::REWARD_STATE_SCORED;
  row.reward = trajectory.verdict().reward();
  for (const v1::RewardComponent& c : trajectory.verdict().components()) {
    row.components.push_back(
        {c.name(), EnumText(v1::RewardState_Name(c.state()), "REWARD_STATE_"), c.value(), c.weight(), c.reason()});
  }
  return row;
}

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

}  // namespace

RunReporter::RunReporter(Options options) : options_(std::move(options)) {
  history_.run = options_.run;
  history_.spec_hash = options_.spec_hash;
  history_.run_text = options_.run_text;
  history_.stages = options_.stages;
}

RunReporter::~RunReporter() = default;

absl::StatusOr<std::unique_ptr<RunReporter>> RunReporter::Open(const Options& options) {
  std::unique_ptr<RunReporter> reporter(new RunReporter(options));
  HONE_RETURN_IF_ERROR(CreateDirectories(options.output_dir));
  HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(options.output_dir, "run.yaml"), options.run_text));
  HONE_RETURN_IF_ERROR(reporter->Load());
  return reporter;
}

absl::Status RunReporter::Load() {
  HONE_RETURN_IF_ERROR(LoadMetrics());
  HONE_RETURN_IF_ERROR(LoadSamples());
  // The event file is made anew from the metrics, so that it neither misses nor repeats a point.
  const std::string folder = JoinPath(options_.output_dir, kEventFolder);
  std::vector<std::string> old;
  if (DirectoryExists(folder)) {
    HONE_ASSIGN_OR_RETURN(old, ListDirectory(folder));
  }
  std::vector<std::string> events;
  for (const StepRow& row : history_.steps) {
    events.push_back(ScalarsEvent(UnixSeconds(row.time), row.step, row.stage + "/", row.metrics));
  }
  for (const EvaluationRow& row : history_.evaluations) {
    events.push_back(ScalarsEvent(UnixSeconds(row.time), row.step, row.stage + "/", row.metrics));
  }
  HONE_ASSIGN_OR_RETURN(events_, EventFileWriter::Create(folder, absl::Now(), events));
  for (const std::string& name : old) {
    const std::string path = JoinPath(folder, name);
    if (name.find(".tfevents.") != std::string::npos && path != events_->path()) HONE_RETURN_IF_ERROR(RemoveTree(path));
  }
  return absl::OkStatus();
}

absl::Status RunReporter::LoadMetrics() {
  return KeepGoodLines(JoinPath(options_.output_dir, kMetricsFile), [this](std::string_view line) {
    auto row = ParseMetricsLine(line);
    if (!row.ok()) return false;
    if (auto* step = std::get_if<StepRow>(&*row)) {
      if (!known_steps_.emplace(step->stage, step->step).second) return false;
      history_.steps.push_back(std::move(*step));
    } else {
      auto& evaluation = std::get<EvaluationRow>(*row);
      if (!known_evaluations_.emplace(evaluation.stage, evaluation.step).second) return false;
      history_.evaluations.push_back(std::move(evaluation));
    }
    return true;
  });
}

absl::Status RunReporter::LoadSamples() {
  return KeepGoodLines(JoinPath(options_.output_dir, kSamplesFile), [this](std::string_view line) {
    auto row = ParseSampleLine(line);
    return row.ok() && AddSample(*std::move(row));
  });
}

bool RunReporter::AddSample(SampleRow row) {
  if (!known_samples_.emplace(row.stage, row.step, row.group_id, row.sample_index).second) return false;
  history_.samples.push_back(std::move(row));
  return true;
}

absl::Status RunReporter::OnStep(const v1::StepMetrics& metrics) {
  StepRow row{metrics.stage(), metrics.step(), absl::UnixEpoch(), {}};
  row.time += absl::Seconds(metrics.time().seconds()) + absl::Nanoseconds(metrics.time().nanos());
  row.metrics.insert(metrics.values().begin(), metrics.values().end());
  if (known_steps_.count({row.stage, row.step}) > 0) return absl::OkStatus();
  HONE_RETURN_IF_ERROR(AppendToFile(JoinPath(options_.output_dir, kMetricsFile), ToJsonLine(row) + "\n"));
  known_steps_.emplace(row.stage, row.step);
  history_.steps.push_back(row);
  return events_->Write(ScalarsEvent(UnixSeconds(row.time), row.step, row.stage + "/", row.metrics));
}

absl::Status RunReporter::OnEvaluation(const std::string& stage, int step, int64_t version, absl::Time time,
                                       const MetricMap& metrics) {
  if (known_evaluations_.count({stage, step}) > 0) return absl::OkStatus();
  EvaluationRow row{stage, step, version, time, metrics};
  HONE_RETURN_IF_ERROR(AppendToFile(JoinPath(options_.output_dir, kMetricsFile), ToJsonLine(row) + "\n"));
  known_evaluations_.emplace(stage, step);
  history_.evaluations.push_back(row);
  return events_->Write(ScalarsEvent(UnixSeconds(time), step, stage + "/", metrics));
}

absl::Status RunReporter::OnSamples(const std::string& stage, int step, const std::vector<const v1::Group*>& groups) {
  std::string lines;
  std::vector<SampleRow> rows;
  int kept_groups = 0;
  for (const v1::Group* group : groups) {
    if (group->trajectories().empty()) continue;
    if (++kept_groups > options_.sample_groups) break;
    const int count = std::min(options_.samples_per_group, group->trajectories_size());
    for (int i = 0; i < count; ++i) {
      SampleRow row = RowOf(stage, step, *group, group->trajectories(i));
      if (known_samples_.count({row.stage, row.step, row.group_id, row.sample_index}) > 0) continue;
      absl::StrAppend(&lines, ToJsonLine(row), "\n");
      rows.push_back(std::move(row));
    }
  }
  HONE_RETURN_IF_ERROR(AppendToFile(JoinPath(options_.output_dir, kSamplesFile), lines));
  for (SampleRow& row : rows) AddSample(std::move(row));
  return absl::OkStatus();
}

absl::Status RunReporter::OnStageFinished(const StageEnd& end) {
  for (const StageEnd& known : history_.ends) {
    if (known.stage == end.stage) return absl::OkStatus();
  }
  history_.ends.push_back(end);
  return absl::OkStatus();
}

absl::Status RunReporter::Write(const RunStanding& standing) {
  const RunSummary summary = Summarize(history_, standing);
  HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(options_.output_dir, "summary.json"), SummaryJson(summary)));
  return WriteFileAtomic(JoinPath(options_.output_dir, "report.html"), HtmlReport(history_, summary));
}

}  // namespace hone::coordinator
