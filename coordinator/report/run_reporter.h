// Writes what a run leaves in its output folder, for people and for scripts:
//
//   run.yaml                 the resolved run file
//   metrics.jsonl            one object a line: {"event": "step", "stage", "step", "time", "metrics": {...}}, and
//                            {"event": "evaluation", "stage", "step", "version", "time", "metrics": {...}}
//   tensorboard/events.out.tfevents.<seconds>.<host>   the same scalars, tagged <stage>/<metric>, by stage step
//   samples.jsonl            completions kept from evaluations
//   summary.json             the run in one object (keys: summary.h)
//   report.html              the run on one page, without external parts
//
// All of it is a projection of the journal. After a restart the coordinator opens the reporter again and replays;
// whatever the folder holds already, (stage, step) for steps and evaluations and (stage, step, group, sample) for
// samples, is skipped, and what a crash cut off is written again. So nothing appears twice and nothing is missing. The
// first report of a pair stands.
//
// Not thread-safe: calls come from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "coordinator/report/run_history.h"

namespace hone::v1 {
class Group;
class StepMetrics;
}  // namespace hone::v1

namespace hone::coordinator {

class EventFileWriter;

class RunReporter {
 public:
  struct Options {
    std::string output_dir;  // made where it does not exist
    std::string run;
    std::string run_text;           // the resolved run file, as text
    std::string spec_hash;          // of the resolved run
    std::vector<StageInfo> stages;  // in order
    int sample_groups = 8;          // groups kept from each evaluation
    int samples_per_group = 2;
  };

  // Reads what the folder holds of this run (a torn last line is dropped) and writes run.yaml.
  static absl::StatusOr<std::unique_ptr<RunReporter>> Open(const Options& options);
  ~RunReporter();
  RunReporter(const RunReporter&) = delete;
  RunReporter& operator=(const RunReporter&) = delete;

  // A finished training step with the metrics of learner and coordinator in one map. Call after it was journaled.
  absl::Status OnStep(const v1::StepMetrics& metrics);
  // A finished evaluation: metrics named eval/...; `step` 0 = the weights that the stage starts from.
  absl::Status OnEvaluation(const std::string& stage, int step, int64_t version, absl::Time time,
                            const MetricMap& metrics);
  // The groups of an evaluation, in the data set's order: the first `sample_groups` of them are kept.
  absl::Status OnSamples(const std::string& stage, int step, const std::vector<const v1::Group*>& groups);
  // The root hash of the last stage that has one becomes summary.json's weights_sha256.
  absl::Status OnStageFinished(const StageEnd& end);

  // Writes summary.json and report.html as things stand now. May be called at any time and any number of times.
  absl::Status Write(const RunStanding& standing);

  const RunHistory& history() const { return history_; }

 private:
  explicit RunReporter(Options options);
  absl::Status Load();
  absl::Status LoadMetrics();
  absl::Status LoadSamples();
  bool AddSample(SampleRow row);

  const Options options_;
  RunHistory history_;
  std::set<std::pair<std::string, int>> known_steps_;
  std::set<std::pair<std::string, int>> known_evaluations_;
  std::set<std::tuple<std::string, int, uint64_t, int>> known_samples_;
  std::unique_ptr<EventFileWriter> events_;
};

}  // namespace hone::coordinator
