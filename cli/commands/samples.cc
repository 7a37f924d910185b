// `hone samples` and `hone metrics`: what a run has recorded.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/control_client.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

namespace hone::cli {
namespace {

// One sample for people.
std::string SampleText(const v1::Sample& sample) {
  const v1::Trajectory& trajectory = sample.trajectory();
  std::string text = absl::StrCat("--- stage ", sample.stage(), ", step ", sample.step(), ", ",
                                  sample.purpose() == v1::GROUP_PURPOSE_EVALUATE ? "evaluation" : "training", ", ",
                                  trajectory.tokens_size(), " tokens (", trajectory.thinking_tokens(), " thinking)\n");
  absl::StrAppend(&text, "prompt: ", sample.prompt(), "\nanswer: ", sample.answer(), "\n", trajectory.text(), "\n");
  std::string rewards;
  for (const v1::RewardComponent& component : trajectory.verdict().components()) {
    absl::StrAppend(&rewards, rewards.empty() ? "" : ", ", component.name(), " ",
                    component.state() == v1::REWARD_STATE_SCORED ? ShortNumber(component.value()) : "unscorable",
                    component.reason().empty() ? "" : absl::StrCat(" (", component.reason(), ")"));
  }
  // An unscorable verdict has no reward: its 0 would read as a wrong answer.
  const bool unscorable = trajectory.verdict().state() == v1::REWARD_STATE_UNSCORABLE;
  absl::StrAppend(&text, "reward ", unscorable ? "unscorable" : ShortNumber(trajectory.verdict().reward()), ": ",
                  rewards, "\n");
  return text;
}

std::string MetricsTable(const std::vector<v1::StepMetrics>& rows, const std::vector<std::string>& columns) {
  std::vector<std::string> header = {"stage", "step"};
  header.insert(header.end(), columns.begin(), columns.end());
  Table table(header);
  for (size_t c = 1; c < header.size(); ++c) table.AlignRight(c);
  for (const v1::StepMetrics& row : rows) {
    std::vector<std::string> cells = {row.stage(), absl::StrCat(row.step())};
    for (const std::string& column : columns) {
      const auto it = row.values().find(column);
      cells.push_back(it == row.values().end() ? "" : ShortNumber(it->second));
    }
    table.Add(cells);
  }
  return table.ToText();
}

// One object a line; of each row's values only `columns`, or all where there are none.
std::string MetricsJson(std::vector<v1::StepMetrics> rows, const std::vector<std::string>& columns) {
  std::string text;
  for (v1::StepMetrics& row : rows) {
    if (!columns.empty()) {
      google::protobuf::Map<std::string, double> all;
      all.swap(*row.mutable_values());
      for (const std::string& column : columns) {
        if (const auto it = all.find(column); it != all.end()) (*row.mutable_values())[column] = it->second;
      }
    }
    text += ToJson(row, false) + "\n";
  }
  return text;
}

// Names of all metrics that any row has.
std::set<std::string> NamesIn(const std::vector<v1::StepMetrics>& rows) {
  std::set<std::string> present;
  for (const v1::StepMetrics& row : rows) {
    for (const auto& [name, value] : row.values()) present.insert(name);
  }
  return present;
}

// The columns that people ask for first, of those that any row has.
std::vector<std::string> UsualColumns(const std::vector<v1::StepMetrics>& rows) {
  const std::set<std::string> present = NamesIn(rows);
  std::vector<std::string> columns;
  for (const char* name :
       {"loss", "reward/mean", "reward/accuracy/mean", "reward/format/mean", "eval/pass_at_1", "response_length/mean",
        "actor/entropy", "actor/grad_norm", "rollout/tokens_per_s", "train/tokens_per_s"}) {
    if (present.contains(name)) columns.push_back(name);
  }
  if (columns.empty()) columns.assign(present.begin(), present.end());
  return columns;
}

// All steps of the run, or those of `stage` where it is not empty; oldest first.
absl::StatusOr<std::vector<v1::StepMetrics>> ReadMetrics(ControlClient* client, const std::string& run,
                                                         const std::string& stage) {
  v1::ListMetricsRequest request;
  request.set_name(run);
  request.set_page_size(10'000);
  if (!stage.empty()) request.set_stage(stage);
  std::vector<v1::StepMetrics> rows;
  do {
    HONE_ASSIGN_OR_RETURN(const v1::ListMetricsResponse page, client->ListMetrics(request));
    rows.insert(rows.end(), page.metrics().begin(), page.metrics().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return rows;
}

// NOT_FOUND where the run has none of that name; a column may be empty where only other stages or steps have it. `rows`
// are those that are shown: only for a name that they lack, the whole run is asked.
absl::Status CheckColumns(ControlClient* client, const v1::Run& run, const std::vector<std::string>& columns,
                          const std::vector<v1::StepMetrics>& rows) {
  std::set<std::string> known = NamesIn(rows);
  const auto lacks = [&known](const std::string& column) { return !known.contains(column); };
  if (std::none_of(columns.begin(), columns.end(), lacks)) return absl::OkStatus();
  HONE_ASSIGN_OR_RETURN(const std::vector<v1::StepMetrics> all, ReadMetrics(client, run.name(), ""));
  known = NamesIn(all);
  const auto unknown = std::find_if(columns.begin(), columns.end(), lacks);
  if (all.empty() || unknown == columns.end()) return absl::OkStatus();
  const std::string near = NearestName(*unknown, {known.begin(), known.end()});
  return absl::NotFoundError(
      absl::StrCat("--columns: no step of ", run.name(), " has a metric '", *unknown, "'",
                   near.empty() ? "; `--output json` shows them all" : absl::StrCat("; did you mean '", near, "'?")));
}

}  // namespace

int RunSamples(const Args& args) {
  std::string coordinator, stage, purpose, output = "table";
  int step = -1;
  int limit = 5;
  bool all = false;
  FlagParser flags =
      MakeFlags("samples", "Prompts, completions and rewards of RUN (else of the one that is running), newest first.",
                {"hone samples", "hone samples quickstart --stage zero --purpose evaluate --limit 3",
                 "hone samples quickstart --all --output json > samples.jsonl"});
  flags.Add("stage", &stage, "only of this stage");
  flags.Add("step", &step, "only of this step");
  flags.Add("purpose", &purpose, "train or evaluate; both where not given");
  flags.Add("limit", &limit, "how many");
  flags.Add("all", &all, "without limit");
  flags.Add("output", &output, "table, or json: one object a line");
  AddCoordinatorFlag(&flags, &coordinator);
  std::vector<std::string> runs;
  if (const auto exit = ParseArgs(&flags, "samples", {"[RUN]", 0, 1}, args, &runs)) return *exit;
  if (const auto exit = RefuseOutputFlag(output)) return *exit;
  if (limit < 1 || step < -1 || (!purpose.empty() && purpose != "train" && purpose != "evaluate")) {
    Note("samples: expected --limit of at least 1, --step of at least 0 and --purpose train or evaluate");
    return kExitUsage;
  }
  const auto client = ControlClient::Connect(coordinator);
  if (!client.ok()) return Fail(client.status());
  const absl::StatusOr<v1::Run> run = (*client)->PickRun(runs.empty() ? "" : runs[0]);
  if (!run.ok()) return Fail(run.status());
  if (const absl::Status known = CheckStage(*run, stage); !known.ok()) return Fail(known);
  v1::ListSamplesRequest request;
  request.set_name(run->name());
  if (!stage.empty()) request.set_stage(stage);
  if (step >= 0) request.set_step(step);
  if (!purpose.empty()) {
    request.set_purpose(purpose == "train" ? v1::GROUP_PURPOSE_TRAIN : v1::GROUP_PURPOSE_EVALUATE);
  }
  int64_t printed = 0;
  do {
    constexpr int kPage = 200;  // a page stays far below the message limit
    request.set_page_size(all ? kPage : static_cast<int>(std::min<int64_t>(kPage, limit - printed)));
    const absl::StatusOr<v1::ListSamplesResponse> page = (*client)->ListSamples(request);
    if (!page.ok()) return Fail(page.status());
    for (const v1::Sample& sample : page->samples()) {
      Print(output == "json" ? ToJson(sample, false) + "\n" : SampleText(sample) + "\n");
      ++printed;
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty() && (all || printed < limit));
  if (printed == 0) Note("no such samples yet");
  return kExitOk;
}

int RunMetrics(const Args& args) {
  std::string coordinator, stage, columns, output = "table";
  int last = 0;
  FlagParser flags = MakeFlags(
      "metrics", "The figures of each step of RUN (else of the one that is running), oldest first.",
      {"hone metrics quickstart --stage zero --last 10", "hone metrics quickstart --columns reward/mean,actor/entropy",
       "hone metrics quickstart --output json > metrics.jsonl"});
  flags.Add("stage", &stage, "only of this stage");
  flags.Add("last", &last, "only the last N steps; 0 = all");
  flags.Add("columns", &columns, "names, separated by commas; else the usual ones, in JSON all");
  flags.Add("output", &output, "table, or json: one object a line");
  AddCoordinatorFlag(&flags, &coordinator);
  std::vector<std::string> runs;
  if (const auto exit = ParseArgs(&flags, "metrics", {"[RUN]", 0, 1}, args, &runs)) return *exit;
  if (const auto exit = RefuseOutputFlag(output)) return *exit;
  if (last < 0) {
    Note("metrics: expected --last of at least 0");
    return kExitUsage;
  }
  const auto client = ControlClient::Connect(coordinator);
  if (!client.ok()) return Fail(client.status());
  const absl::StatusOr<v1::Run> run = (*client)->PickRun(runs.empty() ? "" : runs[0]);
  if (!run.ok()) return Fail(run.status());
  if (const absl::Status known = CheckStage(*run, stage); !known.ok()) return Fail(known);
  absl::StatusOr<std::vector<v1::StepMetrics>> rows = ReadMetrics(client->get(), run->name(), stage);
  if (!rows.ok()) return Fail(rows.status());
  if (last > 0 && rows->size() > static_cast<size_t>(last)) rows->erase(rows->begin(), rows->end() - last);
  std::vector<std::string> names = absl::StrSplit(columns, ',', absl::SkipEmpty());
  if (const absl::Status known = CheckColumns(client->get(), *run, names, *rows); !known.ok()) return Fail(known);
  if (output == "json") {
    Print(MetricsJson(*std::move(rows), names));
    return kExitOk;
  }
  if (names.empty()) names = UsualColumns(*rows);
  if (rows->empty()) Note("no steps yet");
  Print(MetricsTable(*rows, names));
  return kExitOk;
}

}  // namespace hone::cli
