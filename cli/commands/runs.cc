// `hone status`, `watch`, `stop`, `pause`, `resume`: runs as a whole.
#include <map>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/control_client.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/watch.h"
#include "coordinator/run_config/schema_words.h"

namespace hone::cli {
namespace {

std::string ShortName(const v1::Run& run) { return run.name().substr(run.name().find('/') + 1); }

// What RUN commands share: an optional run and the common flags.
struct RunArgs {
  std::string coordinator;
  std::string output = "table";
  std::string run;

  // An exit code where the command must end here.
  std::optional<int> Parse(FlagParser* flags, const std::string& name, const Args& args) {
    flags->Add("output", &output, "table or json");
    AddCoordinatorFlag(flags, &coordinator);
    std::vector<std::string> positional;
    if (const auto exit = ParseArgs(flags, name, {"[RUN]", 0, 1}, args, &positional)) return exit;
    if (!positional.empty()) run = positional[0];
    return RefuseOutputFlag(output);
  }
  bool json() const { return output == "json"; }
};

std::string Steps(const v1::StageProgress& stage) {
  std::string text = stage.steps_total() > 0 ? absl::StrCat(stage.steps_done(), "/", stage.steps_total()) : "";
  if (stage.evaluation_prompts() > 0) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", "evaluated ", stage.evaluated_prompts(), "/",
                    stage.evaluation_prompts());
  }
  return text;
}

std::string RunTable(const v1::Run& run) {
  Table head({"run", ShortName(run)});
  head.Add({"state", RunStateName(run.state())});
  if (!run.error().empty()) head.Add({"error", run.error()});
  head.Add({"output", run.output_dir()});
  head.Add({"hash", run.spec_hash()});
  head.Add({"running", ShortDuration(absl::Seconds(run.running_seconds()))});
  Table stages({"stage", "kind", "steps", ""});
  bool current = true;  // the first unfinished stage is at work
  for (const v1::StageProgress& stage : run.stages()) {
    std::string what = stage.finished() ? "done" : current && !IsFinal(run.state()) ? RunStateName(run.state()) : "";
    if (!stage.finished()) current = false;
    stages.Add({stage.name(), stage.kind(), Steps(stage), what});
  }
  Table metrics({"stage", "metric", "latest"});
  metrics.AlignRight(2);
  for (const v1::StageProgress& stage : run.stages()) {
    const std::map<std::string, double> latest(stage.latest_metrics().begin(), stage.latest_metrics().end());
    for (const auto& [name, value] : latest) metrics.Add({stage.name(), name, ShortNumber(value)});
  }
  return absl::StrCat(head.ToText(), "\n", stages.ToText(), metrics.empty() ? "" : "\n" + metrics.ToText());
}

std::string ListTable(const std::vector<v1::Run>& runs, const v1::ListMembersResponse& members) {
  Table table({"run", "state", "stage", "steps", "running"});
  for (const v1::Run& run : runs) {
    std::string stage, steps;
    for (const v1::StageProgress& progress : run.stages()) {
      stage = progress.name();
      steps = Steps(progress);
      if (!progress.finished()) break;
    }
    table.Add(
        {ShortName(run), RunStateName(run.state()), stage, steps, ShortDuration(absl::Seconds(run.running_seconds()))});
  }
  Table processes({"process", "name", "address", "heard of", "groups", "tokens/s", "kv use"});
  const auto gauge = [](const v1::Member& member, const char* name, double factor, const char* unit) {
    const auto it = member.gauges().find(name);
    return it == member.gauges().end() ? "" : absl::StrCat(ShortNumber(it->second * factor), unit);
  };
  for (const v1::Member& member : members.members()) {
    processes.Add({member.role(), member.name(), member.address(),
                   ShortDuration(absl::Seconds(member.seconds_since_heartbeat())) + " ago",
                   absl::StrCat(member.leased_groups()), gauge(member, "tokens_per_s", 1, ""),
                   gauge(member, "kv_use", 100, " %")});
  }
  return absl::StrCat(table.empty() ? "no runs\n" : table.ToText(), "\n",
                      processes.empty() ? "no processes have joined\n" : processes.ToText());
}

using Change = absl::StatusOr<v1::Run> (ControlClient::*)(const std::string&);

// stop, pause and resume: one call, then what came of it.
int ChangeRun(const std::string& name, const std::string& summary, Change change, const Args& args) {
  RunArgs common;
  FlagParser flags = MakeFlags(name, summary, {absl::StrCat("hone ", name, " quickstart")});
  if (const auto exit = common.Parse(&flags, name, args)) return *exit;
  const auto client = ControlClient::Connect(common.coordinator);
  if (!client.ok()) return Fail(client.status());
  if (common.run.empty() && name == "resume") {
    Note("resume: expected RUN, got nothing; `hone status` lists the runs");
    return kExitUsage;
  }
  absl::StatusOr<v1::Run> run = (*client)->PickRun(common.run);
  if (run.ok()) run = ((**client).*change)(run->name());
  if (!run.ok()) return Fail(run.status());
  Print(common.json() ? ToJson(*run, true) + "\n" : absl::StrCat(run->name(), " ", RunStateName(run->state()), "\n"));
  return kExitOk;
}

}  // namespace

int RunStatus(const Args& args) {
  RunArgs common;
  FlagParser flags = MakeFlags("status", "All runs and processes; with RUN, that run in detail.",
                               {"hone status", "hone status quickstart", "hone status quickstart --output json"});
  if (const auto exit = common.Parse(&flags, "status", args)) return *exit;
  const auto client = ControlClient::Connect(common.coordinator);
  if (!client.ok()) return Fail(client.status());
  if (!common.run.empty()) {
    const absl::StatusOr<v1::Run> run = (*client)->PickRun(common.run);
    if (!run.ok()) return Fail(run.status());
    Print(common.json() ? ToJson(*run, true) + "\n" : RunTable(*run));
    return kExitOk;
  }
  const absl::StatusOr<std::vector<v1::Run>> runs = (*client)->ListRuns();
  if (!runs.ok()) return Fail(runs.status());
  const absl::StatusOr<v1::ListMembersResponse> members = (*client)->ListMembers();
  if (!members.ok()) return Fail(members.status());
  if (!common.json()) {
    Print(ListTable(*runs, *members));
    return kExitOk;
  }
  const auto list = [](const auto& messages) {
    std::string text;
    for (const auto& message : messages) absl::StrAppend(&text, text.empty() ? "" : ", ", ToJson(message, false));
    return absl::StrCat("[", text, "]");
  };
  Print(absl::StrCat("{\"runs\": ", list(*runs), ", \"members\": ", list(members->members()), "}\n"));
  return kExitOk;
}

int RunWatch(const Args& args) {
  RunArgs common;
  FlagParser flags =
      MakeFlags("watch", "Follows RUN (else the one that is running) until it ends; the exit code is the run's.",
                {"hone watch", "hone watch quickstart", "hone watch quickstart --output json | jq .run.state"});
  if (const auto exit = common.Parse(&flags, "watch", args)) return *exit;
  const auto client = ControlClient::Connect(common.coordinator);
  if (!client.ok()) return Fail(client.status());
  absl::StatusOr<v1::Run> run = (*client)->PickRun(common.run);
  if (!run.ok()) return Fail(run.status());
  WatchOptions options;
  options.json = common.json();
  run = WatchUntilEnd(client->get(), run->name(), options);
  if (!run.ok()) return Fail(run.status());
  return ReportEnd(*run);
}

int RunStop(const Args& args) {
  return ChangeRun("stop", "Stops RUN (else the one that is running) once a checkpoint is written.",
                   &ControlClient::StopRun, args);
}
int RunPause(const Args& args) {
  return ChangeRun("pause", "Lets RUN (else the one that is running) rest: nothing new is generated or learned.",
                   &ControlClient::PauseRun, args);
}
int RunResume(const Args& args) {
  return ChangeRun("resume", "Lets a paused, stopped or failed RUN go on from its newest checkpoint.",
                   &ControlClient::ResumeRun, args);
}

int RunVersion(const Args& args) {
  FlagParser flags = MakeFlags("version", "Version of the program and of the schema that it speaks.", {});
  if (const auto exit = ParseArgs(&flags, "version", args)) return *exit;
  Print("hone " HONE_VERSION " (schema hone.v1)\n");
  return kExitOk;
}

}  // namespace hone::cli
