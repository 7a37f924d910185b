// The run in one object: summary.json. Pure: history in, figures out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/report/run_history.h"

namespace hone::coordinator {

// Sums over some training steps.
struct Totals {
  int steps = 0;
  double rollout_tokens = 0;
  double rollout_seconds = 0;
  double train_tokens = 0;
  double train_seconds = 0;
  double compared_tokens = 0;
  // Largest |log-prob of the rollout - log-prob of the learner| over all compared tokens; NaN where any was.
  double max_abs_logprob_diff = 0;

  std::optional<double> RolloutTokensPerSecond() const;  // absent where nothing was generated
  std::optional<double> TrainTokensPerSecond() const;
};

struct StageSummary {
  StageInfo info;
  Totals totals;
  std::optional<EvaluationRow> first_evaluation;
  std::optional<EvaluationRow> last_evaluation;
  // Of the weights that the stage ends with (keep_best: not the last ones); the last one while it has not ended.
  std::optional<EvaluationRow> final_evaluation;
  std::optional<StageEnd> end;
};

struct RunSummary {
  std::string run;
  std::string spec_hash;
  RunStanding standing;
  // `before`: the first evaluation of the first rl stage that has one (at step 0 by default); `after`: that of the
  // weights which the last rl stage ends with. In a run without rl: of all stages.
  std::optional<EvaluationRow> before;
  std::optional<EvaluationRow> after;
  // Over the rl stages; in a run without rl, over all stages.
  Totals totals;
  std::string weights_sha256;  // of the last finished stage that made weights
  std::vector<StageSummary> stages;
};

RunSummary Summarize(const RunHistory& history, const RunStanding& standing);

// Keys at the top: run, state, error, spec_hash, pass_at_1_before/_after, format_..., language_share_...,
// thinking_length_..., response_length_..., problems, steps, run_seconds, rollout_tokens, rollout_tokens_per_s,
// train_tokens, train_tokens_per_s, compared_tokens, max_abs_logprob_diff, dropped_groups and unscorable_samples (of
// the whole run), weights_sha256, before and after (all metrics), stages. A figure that was not measured is null, never
// 0.
std::string SummaryJson(const RunSummary& summary);

// The metric `eval/<name>` of an evaluation, where it is there.
std::optional<double> EvalMetric(const std::optional<EvaluationRow>& row, const std::string& name);

}  // namespace hone::coordinator
