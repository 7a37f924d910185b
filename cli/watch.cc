#include "cli/watch.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/status.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "coordinator/run_config/schema_words.h"
#include "rpc/retry.h"

namespace hone::cli {
namespace {

// The stage at work: the first that is not finished, else the last.
const v1::StageProgress* CurrentStage(const v1::Run& run) {
  for (const v1::StageProgress& stage : run.stages()) {
    if (!stage.finished()) return &stage;
  }
  return run.stages().empty() ? nullptr : &run.stages(run.stages_size() - 1);
}

// What the time that is left is told from: the steps of a training stage, the prompts of an evaluation of its own.
struct Amount {
  int done = 0;
  int total = 0;
};
Amount AmountOf(const v1::StageProgress& stage) {
  if (stage.kind() == "evaluate") return {stage.evaluated_prompts(), stage.evaluation_prompts()};
  return {stage.steps_done(), stage.steps_total()};
}

// Progress on stderr: one line that is written over on a terminal, else a line for each milestone.
class ProgressPrinter {
 public:
  ProgressPrinter() : terminal_(isatty(STDERR_FILENO) != 0) {}
  ~ProgressPrinter() { Finish(); }
  void Update(const v1::Run& run) {
    const bool milestone = text_.IsMilestone(run);
    const std::string line = text_.Line(run, absl::Now());
    if (terminal_) {
      // A finished stage's last line stays.
      const v1::StageProgress* stage = CurrentStage(run);
      if (stage != nullptr && stage->name() != stage_) Finish();
      stage_ = stage != nullptr ? stage->name() : "";
      std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
      open_ = true;
    } else if (milestone) {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
    std::fflush(stderr);
  }
  void Finish() {
    if (open_) std::fputc('\n', stderr);
    open_ = false;
  }

 private:
  const bool terminal_;
  ProgressText text_;
  std::string stage_;
  bool open_ = false;  // the cursor stands at the end of a line
};

std::string Cell(const nlohmann::json& summary, const std::string& key, bool percent) {
  const auto it = summary.find(key);
  if (it == summary.end() || !it->is_number()) return "-";
  return percent ? absl::StrFormat("%.1f %%", 100 * it->get<double>()) : absl::StrFormat("%.1f", it->get<double>());
}

std::string Figure(const nlohmann::json& summary, const std::string& key) {
  const auto it = summary.find(key);
  if (it == summary.end() || it->is_null()) return "-";
  if (it->is_string()) return it->get<std::string>();
  return it->is_number() ? ShortNumber(it->get<double>()) : it->dump();
}

}  // namespace

std::string ProgressText::Line(const v1::Run& run, absl::Time now) {
  const v1::StageProgress* stage = CurrentStage(run);
  if (stage == nullptr) return RunStateName(run.state());
  std::vector<std::string> parts = {stage->name()};
  if (run.state() != v1::RUN_STATE_RUNNING) parts.push_back(RunStateName(run.state()));
  if (stage->steps_total() > 0) {
    parts.push_back(absl::StrCat("step ", stage->steps_done(), "/", stage->steps_total()));
  }
  if (stage->evaluation_prompts() > 0) {
    parts.push_back(absl::StrCat("evaluated ", stage->evaluated_prompts(), "/", stage->evaluation_prompts()));
  }
  // The stage's own: figures of an earlier one would mislead.
  const auto metric = [&](const char* key, const char* label) {
    const auto it = stage->latest_metrics().find(key);
    if (it != stage->latest_metrics().end()) parts.push_back(absl::StrCat(label, " ", ShortNumber(it->second)));
  };
  if (stage->kind() == "rl") {
    metric("reward/mean", "reward");
    const auto equal = stage->latest_metrics().find("reward/zero_variance_share");
    if (equal != stage->latest_metrics().end() && equal->second == 1) {
      parts.push_back("NO SIGNAL: in every group all rewards are equal");
    }
  } else {
    metric("loss", "loss");
  }
  metric("eval/pass_at_1", "pass@1");
  metric(stage->kind() == "rl" ? "rollout/tokens_per_s" : "train/tokens_per_s", "tokens/s");

  const Amount amount = AmountOf(*stage);
  if (rate_stage_ != stage->name() || amount.done < last_done_) {
    rate_stage_ = stage->name();
    rate_start_ = amount.done;
    rate_time_ = now;
  }
  last_done_ = amount.done;
  const int done = last_done_ - rate_start_;
  if (done > 0 && amount.total > amount.done) {
    const absl::Duration left = (now - rate_time_) / done * (amount.total - amount.done);
    parts.push_back(absl::StrCat("left ", ShortDuration(left)));
  }
  if (run.state() == v1::RUN_STATE_PAUSED && !run.error().empty()) parts.push_back(run.error());  // it paused by itself
  return absl::StrJoin(parts, "  ");
}

bool ProgressText::IsMilestone(const v1::Run& run) {
  const v1::StageProgress* stage = CurrentStage(run);
  std::string now = RunStateName(run.state());
  if (stage != nullptr) {
    const Amount amount = AmountOf(*stage);
    const int64_t tenth = amount.total > 0 ? int64_t{amount.done} * 10 / amount.total : 0;
    absl::StrAppend(&now, " ", stage->name(), " ", tenth);
  }
  if (now == last_milestone_) return false;
  last_milestone_ = now;
  return true;
}

absl::StatusOr<v1::Run> WatchUntilEnd(ControlClient* client, const std::string& name, const WatchOptions& options) {
  ProgressPrinter printer;
  v1::Run last;
  absl::Time reached = absl::Now();
  bool said_why = false;  // since the last update
  const auto on_update = [&](const v1::WatchRunResponse& update) {
    reached = absl::Now();
    said_why = false;
    last = update.run();
    if (options.json) {
      Print(ToJson(update, false) + "\n");
    } else if (!options.quiet) {
      printer.Update(last);
    }
  };
  for (;;) {
    const absl::Status status = client->WatchRun(name, options.cancelled, on_update);
    if (IsFinal(last.state())) return last;
    // A coordinator that cannot write its journal (a full disk) refuses to answer until it can again: it is there.
    const bool stalled = absl::IsResourceExhausted(status);
    if (!status.ok() && !stalled && !absl::IsDeadlineExceeded(status) && !absl::IsUnavailable(status)) return status;
    if (stalled) reached = absl::Now();
    if (!status.ok() && !absl::IsUnavailable(status) && !said_why) {
      printer.Finish();
      Note(absl::StrCat("the coordinator does not answer for now: ", std::string(status.message()), "; trying again"));
      said_why = true;
    }
    // The stream broke, or ended early because the coordinator went down in order: ask again for a while.
    if (!status.ok() && absl::Now() - reached > options.patience) return status;
    if (!SleepUnless(options.cancelled, absl::Milliseconds(200)))
      return absl::CancelledError("watching was broken off");
  }
}

int ReportEnd(const v1::Run& run) {
  const std::string name = run.name().substr(run.name().find('/') + 1);
  switch (run.state()) {
    case v1::RUN_STATE_SUCCEEDED:
      Note(absl::StrCat("run '", name, "' succeeded after ", ShortDuration(absl::Seconds(run.running_seconds())),
                        "; see ", run.output_dir()));
      return kExitOk;
    case v1::RUN_STATE_STOPPED:
      Note(absl::StrCat("run '", name, "' was stopped; `hone resume ", name, "` goes on from its newest checkpoint"));
      return kExitStopped;
    default:
      Note(absl::StrCat("run '", name, "' failed: ", run.error()));
      return kExitFailed;
  }
}

std::string SummaryTable(const std::string& output_dir) {
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(output_dir, "summary.json"));
  if (!text.ok()) return "";
  const nlohmann::json summary = nlohmann::json::parse(*text, nullptr, false);
  if (!summary.is_object()) return "";
  Table table({"", "before", "after"});
  table.AlignRight(1);
  table.AlignRight(2);
  struct Row {
    const char* label;
    const char* key;
    bool percent;
  };
  for (const Row& row :
       {Row{"pass@1", "pass_at_1", true}, Row{"format", "format", true}, Row{"language share", "language_share", true},
        Row{"thinking tokens", "thinking_length", false}, Row{"response tokens", "response_length", false}}) {
    const std::string before = Cell(summary, std::string(row.key) + "_before", row.percent);
    const std::string after = Cell(summary, std::string(row.key) + "_after", row.percent);
    if (before != "-" || after != "-") table.Add({row.label, before, after});
  }
  Table figures({"figure", "value"});
  for (const char* key : {"steps", "run_seconds", "rollout_tokens", "rollout_tokens_per_s", "train_tokens_per_s",
                          "compared_tokens", "max_abs_logprob_diff", "weights_sha256"}) {
    if (summary.contains(key)) figures.Add({key, Figure(summary, key)});
  }
  // Worth a line only where there are any.
  for (const char* key : {"dropped_groups", "unscorable_samples"}) {
    if (summary.contains(key) && summary[key] != 0) figures.Add({key, Figure(summary, key)});
  }
  return absl::StrCat(table.empty() ? "" : table.ToText() + "\n", figures.ToText());
}

}  // namespace hone::cli
