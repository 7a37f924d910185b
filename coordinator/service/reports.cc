#include "coordinator/service/reports.h"

#include <vector>

#include "absl/time/clock.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/core/record_time.h"
#include "coordinator/core/stage_plan.h"
#include "coordinator/report/run_reporter.h"
#include "coordinator/run_config/resolve.h"

namespace hone::coordinator {
namespace {

constexpr int32_t kSampleGroups = 8;  // of each evaluation

// The run that a record belongs to; "" for none.
const std::string& RunOf(const v1::JournalRecord& record) {
  static const std::string none;
  switch (record.event_case()) {
    case v1::JournalRecord::kRunCreated:
      return record.run_created().run();
    case v1::JournalRecord::kRunStateChanged:
      return record.run_state_changed().run();
    case v1::JournalRecord::kGroupRecorded:
      return record.group_recorded().run();
    case v1::JournalRecord::kStepRecorded:
      return record.step_recorded().run();
    case v1::JournalRecord::kEvaluationRecorded:
      return record.evaluation_recorded().run();
    case v1::JournalRecord::kStageFinished:
      return record.stage_finished().run();
    default:
      return none;
  }
}

std::string LowerState(v1::RunState state) {
  std::string name = v1::RunState_Name(state).substr(sizeof("RUN_STATE_") - 1);
  for (char& c : name) c = static_cast<char>(c - 'A' + 'a');
  return name;
}

}  // namespace

struct Reports::RunReport {
  std::unique_ptr<RunReporter> reporter;  // null where it could not be opened
  v1::RunSpec spec;
  RunStanding standing;
  bool ended = false;
  bool stale = false;  // the summary does not say everything yet
  absl::Time written = absl::InfinitePast();
  std::map<std::pair<std::string, int32_t>, std::map<int32_t, v1::Group>> samples;  // by stage and step, then slot
};

Reports::Reports(Scan scan, RunningSeconds running_seconds)
    : scan_(std::move(scan)), running_seconds_(std::move(running_seconds)) {}

Reports::~Reports() = default;

absl::Status Reports::Open(const std::string& run, const v1::RunCreated& created, RunReport* report) {
  report->spec = created.spec();
  RunReporter::Options options;
  options.output_dir = created.output_dir();
  options.run = run;
  options.run_text = ToYaml(created.spec());
  options.spec_hash = CanonicalSpecHash(created.spec());
  options.sample_groups = kSampleGroups;
  for (const v1::StageSpec& stage : created.spec().stages())
    options.stages.push_back({stage.name(), StageKindName(stage)});
  HONE_ASSIGN_OR_RETURN(report->reporter, RunReporter::Open(options));
  return absl::OkStatus();
}

absl::Status Reports::Feed(const v1::JournalRecord& record, RunReport* report) {
  switch (record.event_case()) {
    case v1::JournalRecord::kRunStateChanged: {
      const v1::RunState state = record.run_state_changed().state();
      report->standing.state = LowerState(state);
      report->standing.error = record.run_state_changed().error();
      report->ended =
          state == v1::RUN_STATE_SUCCEEDED || state == v1::RUN_STATE_FAILED || state == v1::RUN_STATE_STOPPED;
      report->written = absl::InfinitePast();
      break;
    }
    case v1::JournalRecord::kGroupRecorded: {
      const v1::GroupRecorded& e = record.group_recorded();
      if (e.purpose() == v1::GROUP_PURPOSE_EVALUATE && e.slot() < kSampleGroups) {
        report->samples[{e.stage(), e.step()}][e.slot()] = e.group();
      }
      return absl::OkStatus();
    }
    case v1::JournalRecord::kStepRecorded: {
      const v1::StepRecorded& e = record.step_recorded();
      v1::StepMetrics metrics;
      metrics.set_stage(e.stage());
      metrics.set_step(e.step());
      *metrics.mutable_time() = record.time();
      *metrics.mutable_values() = e.metrics();
      report->stale = true;
      return report->reporter->OnStep(metrics);
    }
    case v1::JournalRecord::kEvaluationRecorded: {
      const v1::EvaluationRecorded& e = record.evaluation_recorded();
      report->stale = true;
      const MetricMap metrics(e.metrics().begin(), e.metrics().end());
      HONE_RETURN_IF_ERROR(
          report->reporter->OnEvaluation(e.stage(), e.step(), e.version(), FromProtoTime(record.time()), metrics));
      std::vector<const v1::Group*> groups;
      const auto samples = report->samples.extract({e.stage(), e.step()});
      if (!samples.empty()) {
        for (const auto& [slot, group] : samples.mapped()) groups.push_back(&group);
      }
      return report->reporter->OnSamples(e.stage(), e.step(), groups);
    }
    case v1::JournalRecord::kStageFinished: {
      const v1::StageFinished& e = record.stage_finished();
      bool training = false;
      for (const v1::StageSpec& stage : report->spec.stages()) {
        if (stage.name() == e.stage()) training = IsTrainingStage(stage);
      }
      report->written = absl::InfinitePast();
      report->stale = true;
      return report->reporter->OnStageFinished(e.stage(), e.path(), training ? e.root_hash() : "", e.steps());
    }
    default:
      return absl::OkStatus();
  }
  report->stale = true;
  return absl::OkStatus();
}

Reports::RunReport* Reports::FindOrOpen(const std::string& run, RecordSpan span) {
  if (const auto it = reports_.find(run); it != reports_.end()) return it->second.get();
  auto report = std::make_unique<RunReport>();
  absl::Status opened = absl::NotFoundError("no record created the run");
  const absl::Status scanned = scan_(span.end, [&](const v1::JournalRecord& record) {
    if (RunOf(record) != run) return;
    if (record.has_run_created()) opened = Open(run, record.run_created(), report.get());
    if (report->reporter != nullptr && opened.ok()) opened = Feed(record, report.get());
  });
  if (!opened.ok() || !scanned.ok()) {
    HONE_WARNING << "run " << run << " leaves no report: " << std::string((opened.ok() ? scanned : opened).message());
    report->reporter = nullptr;
  }
  return (reports_[run] = std::move(report)).get();
}

void Reports::Handle(const v1::JournalRecord& record, RecordSpan span) {
  const std::string& run = RunOf(record);
  if (run.empty()) return;
  const bool known = reports_.contains(run);
  RunReport* report = FindOrOpen(run, span);
  if (report->reporter != nullptr) {
    if (known) {
      if (const absl::Status status = Feed(record, report); !status.ok()) {
        HONE_WARNING << "report of run " << run << ": " << std::string(status.message());
      }
    }
    if (report->ended || record.has_evaluation_recorded() || record.has_stage_finished()) Write(run, report);
  }
  if (report->ended) reports_.erase(run);
}

void Reports::Write(const std::string& run, RunReport* report) {
  report->standing.running_seconds = running_seconds_(run);
  if (const absl::Status status = report->reporter->Write(report->standing); !status.ok()) {
    HONE_WARNING << "report of run " << run << ": " << std::string(status.message());
  }
  report->written = absl::Now();
  report->stale = false;
}

void Reports::Refresh(absl::Duration age) {
  for (auto& [run, report] : reports_) {
    if (report->reporter != nullptr && report->stale && report->written + age < absl::Now()) Write(run, report.get());
  }
}

}  // namespace hone::coordinator
