// What a run has shown so far: the data that summary.json and report.html are drawn from. Plain values, no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace hone::coordinator {

using MetricMap = std::map<std::string, double>;

struct StageInfo {
  std::string name;
  std::string kind;  // pretrain, sft, rl, evaluate, export
};

struct StepRow {
  std::string stage;
  int step = 0;  // 1 = the stage's first
  absl::Time time;
  MetricMap metrics;
};

struct EvaluationRow {
  std::string stage;
  int step = 0;  // steps of the stage that the weights contain; 0 = before the first
  int64_t version = 0;
  absl::Time time;
  MetricMap metrics;
};

struct SampleComponent {
  std::string name;
  std::string state;  // "scored" or "unscorable"
  double value = 0;
  double weight = 0;
  std::string reason;
};

// One completion, as shown to people.
struct SampleRow {
  std::string stage;
  int step = 0;
  uint64_t group_id = 0;
  int sample_index = 0;
  std::string prompt_id;
  std::string prompt;
  std::string answer;  // the reference
  std::string text;
  std::string finish_reason;  // lower case, e.g. "end_of_sequence"
  int tokens = 0;
  int thinking_tokens = 0;
  bool scored = false;
  double reward = 0;
  std::vector<SampleComponent> components;
};

struct StageEnd {
  std::string stage;
  std::string path;       // final checkpoint or export folder
  std::string root_hash;  // canonical hash of the fp32 masters in `path`; "" where the stage made no weights
  int steps = 0;
  int weights_step = 0;  // the step whose weights these are: the last one or, with keep_best, the best one
};

// How the run stands; `state` is lower case: running, succeeded, failed, stopped, ...
struct RunStanding {
  std::string state;
  std::string error;
  double running_seconds = 0;
  // Over all steps and evaluations, those of a step that failed the run included.
  int64_t dropped_groups = 0;
  int64_t unscorable_samples = 0;
};

struct RunHistory {
  std::string run;
  std::string spec_hash;
  std::string run_text;           // the resolved run file
  std::vector<StageInfo> stages;  // in order
  std::vector<StepRow> steps;
  std::vector<EvaluationRow> evaluations;
  std::vector<SampleRow> samples;
  std::vector<StageEnd> ends;
};

}  // namespace hone::coordinator
