#include "coordinator/service/reports.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/core/record_time.h"
#include "coordinator/core/run_state.h"
#include "coordinator/core/stage_plan.h"
#include "coordinator/report/run_reporter.h"
#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/schema_words.h"

namespace hone::coordinator {
namespace {

constexpr int32_t kSampleGroups = 8;  // of each evaluation
// Between tries to open a report: each reads the whole journal.
constexpr absl::Duration kFirstPause = absl::Seconds(2);
constexpr absl::Duration kLongestPause = absl::Minutes(1);

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
    case v1::JournalRecord::kCheckpointRecorded:
      return record.checkpoint_recorded().run();
    case v1::JournalRecord::kStageFinished:
      return record.stage_finished().run();
    default:
      return none;
  }
}

}  // namespace

struct Reports::RunReport {
  std::unique_ptr<RunReporter> reporter;  // null where it is to be opened (again)
  int64_t end = 0;                        // of the run's newest record
  absl::Time retry_at = absl::InfinitePast();
  absl::Duration pause;  // before the next try to open it; zero after a success
  v1::RunSpec spec;
  std::map<std::string, int32_t> checkpoint_steps;  // by path
  RunStanding standing;
  bool ended = false;
  bool stale = false;  // the summary does not say everything yet
  absl::Time written = absl::InfinitePast();
  std::map<std::pair<std::string, int32_t>, std::map<int32_t, v1::Group>> samples;  // by stage and step, then slot
  // The groups that are counted as dropped or with unscorable samples: a record may come twice.
  std::set<std::tuple<std::string, v1::GroupPurpose, int32_t, int32_t>> counted;
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

void Reports::CountLosses(const v1::GroupRecorded& e, RunReport* report) {
  int64_t unscorable = 0;
  for (const v1::Trajectory& trajectory : e.group().trajectories()) {
    unscorable += trajectory.verdict().state() != v1::REWARD_STATE_SCORED;
  }
  const bool dropped = e.group().state() == v1::GROUP_STATE_DROPPED;
  if (!dropped && unscorable == 0) return;
  if (!report->counted.emplace(e.stage(), e.purpose(), e.step(), e.slot()).second) return;
  report->standing.dropped_groups += dropped;
  report->standing.unscorable_samples += unscorable;
  report->stale = true;
}

absl::Status Reports::Feed(const v1::JournalRecord& record, RunReport* report) {
  switch (record.event_case()) {
    case v1::JournalRecord::kRunStateChanged: {
      report->standing.state = RunStateName(record.run_state_changed().state());
      report->standing.error = record.run_state_changed().error();
      report->ended = IsFinal(record.run_state_changed().state());
      report->written = absl::InfinitePast();
      break;
    }
    case v1::JournalRecord::kGroupRecorded: {
      const v1::GroupRecorded& e = record.group_recorded();
      CountLosses(e, report);
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
    case v1::JournalRecord::kCheckpointRecorded:
      report->checkpoint_steps[record.checkpoint_recorded().path()] = record.checkpoint_recorded().step();
      return absl::OkStatus();
    case v1::JournalRecord::kStageFinished: {
      const v1::StageFinished& e = record.stage_finished();
      bool training = false;
      for (const v1::StageSpec& stage : report->spec.stages()) {
        if (stage.name() == e.stage()) training = IsTrainingStage(stage);
      }
      report->written = absl::InfinitePast();
      report->stale = true;
      const auto step = report->checkpoint_steps.find(e.path());
      return report->reporter->OnStageFinished(
          {.stage = e.stage(),
           .path = e.path(),
           .root_hash = training ? e.root_hash() : "",
           .steps = e.steps(),
           .weights_step = step == report->checkpoint_steps.end() ? e.steps() : step->second});
    }
    default:
      return absl::OkStatus();
  }
  report->stale = true;
  return absl::OkStatus();
}

void Reports::GiveUp(const std::string& run, const absl::Status& why, RunReport* report) {
  report->pause = std::clamp(2 * report->pause, kFirstPause, kLongestPause);
  report->retry_at = absl::Now() + report->pause;
  report->reporter = nullptr;
  HONE_WARNING << "report of run " << run << ": " << std::string(why.message()) << "; tried again in "
               << absl::FormatDuration(report->pause);
}

void Reports::Reopen(const std::string& run, RunReport* report) {
  RunReport fresh;
  fresh.end = report->end;
  fresh.pause = report->pause;
  absl::Status opened = absl::NotFoundError("no record created the run");
  const absl::Status scanned = scan_(report->end, [&](const v1::JournalRecord& record) {
    if (RunOf(record) != run) return;
    if (record.has_run_created()) opened = Open(run, record.run_created(), &fresh);
    if (fresh.reporter != nullptr && opened.ok()) opened = Feed(record, &fresh);
  });
  *report = std::move(fresh);
  if (!opened.ok() || !scanned.ok()) {
    GiveUp(run, opened.ok() ? scanned : opened, report);
  } else {
    report->pause = absl::ZeroDuration();
  }
}

void Reports::Handle(const v1::JournalRecord& record, RecordSpan span) {
  const std::string& run = RunOf(record);
  if (run.empty()) return;
  std::unique_ptr<RunReport>& slot = reports_[run];
  if (slot == nullptr) slot = std::make_unique<RunReport>();
  RunReport* report = slot.get();
  // A record may come twice; the end never goes back.
  report->end = std::max(report->end, span.end);
  if (report->reporter == nullptr) {
    if (report->retry_at <= absl::Now()) Reopen(run, report);
  } else if (const absl::Status status = Feed(record, report); !status.ok()) {
    GiveUp(run, status, report);
  }
  if (report->reporter == nullptr) return;
  if (report->ended || record.has_evaluation_recorded() || record.has_stage_finished()) Write(run, report);
  if (report->ended && !report->stale) reports_.erase(run);
}

void Reports::TakeUp(const std::string& run, const std::string& output_dir, v1::RunState state, int64_t end) {
  if (!DirectoryExists(output_dir)) return;  // removed: it shall stay so
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(output_dir, "summary.json"));
  const nlohmann::json summary = nlohmann::json::parse(text.value_or(""), nullptr, /*allow_exceptions=*/false);
  if (summary.is_object() && summary.value("state", nlohmann::json()) == RunStateName(state)) return;
  std::unique_ptr<RunReport>& report = reports_[run];
  report = std::make_unique<RunReport>();
  report->end = end;
}

void Reports::Write(const std::string& run, RunReport* report) {
  report->standing.running_seconds = running_seconds_(run);
  const absl::Status status = report->reporter->Write(report->standing);
  if (!status.ok()) HONE_WARNING << "report of run " << run << ": " << std::string(status.message());
  report->written = absl::Now();
  report->stale = !status.ok();
}

void Reports::Refresh(absl::Duration age) {
  for (auto it = reports_.begin(); it != reports_.end();) {
    const std::string& run = it->first;
    RunReport* report = it->second.get();
    if (report->reporter == nullptr && (age == absl::ZeroDuration() || report->retry_at <= absl::Now())) {
      Reopen(run, report);
    }
    const bool open = report->reporter != nullptr;
    if (open && report->stale && report->written + age <= absl::Now()) Write(run, report);
    it = open && report->ended && !report->stale ? reports_.erase(it) : std::next(it);
  }
}

}  // namespace hone::coordinator
