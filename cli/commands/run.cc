// `hone run`: a run on a running coordinator.
#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/control_client.h"
#include "cli/exit_codes.h"
#include "cli/memory_report.h"
#include "cli/model_folder.h"
#include "cli/output.h"
#include "cli/run_file.h"
#include "cli/watch.h"
#include "cli/worker_flags.h"
#include "coordinator/run_config/schema_words.h"

namespace hone::cli {
namespace {

// The same file asked for again is the same run; it does nothing more by itself.
void NoteEndedBefore(const v1::Run& run) {
  const std::string name = run.name().substr(run.name().find('/') + 1);
  const bool resumable = run.state() != v1::RUN_STATE_SUCCEEDED;
  Note(absl::StrCat("run '", name, "' of this file is there already and ", RunStateName(run.state()),
                    run.error().empty() ? "" : absl::StrCat(" (", run.error(), ")"), "; ",
                    resumable ? absl::StrCat("`hone resume ", name, "` goes on with it, and ") : "",
                    "another name or seed makes another run: --set name=..., --set seed=..."));
}

}  // namespace

int RunRun(const Args& args) {
  std::string coordinator;
  std::string output = "table";
  std::vector<std::string> overrides;
  bool dry_run = false;
  bool wait = false;
  Worker::Options worker;
  const Worker::Options worker_defaults = worker;
  FlagParser flags = MakeFlags(
      "run", "Starts the run that FILE describes; prints its name.",
      {"hone run recipes/quickstart.yaml --wait", "hone run recipes/quickstart.yaml --set stages.zero.rl.steps=20",
       "hone run recipes/quickstart.yaml --dry-run --kv_memory_mib 256"});
  flags.Add("set", &overrides, "a.b=v, changes a field; may be given several times");
  flags.Add("dry-run", &dry_run,
            "print the resolved file, its hash, what would run and the memory it takes; start nothing");
  AddWorkerMemoryFlags(&flags, &worker, "with --dry-run, as `hone up` will get it: ");
  flags.Add("wait", &wait, "watch until it ends; the exit code is the run's");
  flags.Add("output", &output, "table or json");
  AddCoordinatorFlag(&flags, &coordinator);
  std::vector<std::string> files;
  if (const auto exit = ParseArgs(&flags, "run", {"FILE", 1, 1}, args, &files)) return *exit;
  if (const auto exit = RefuseOutputFlag(output)) return *exit;

  if (const absl::Status status = CheckWorkerFlags(worker); !status.ok()) {
    Note(absl::StrCat("run: ", status.message()));
    return kExitUsage;
  }
  if (!dry_run && WorkerArguments(worker) != WorkerArguments(worker_defaults)) {
    Note("run: --kv_memory_mib and --max_sequences need --dry-run; give them to the `hone up` that starts the workers");
    return kExitUsage;
  }

  const absl::StatusOr<v1::RunSpec> spec = LoadRunFile(files[0], overrides);
  if (!spec.ok()) return Fail(spec.status());
  if (dry_run) {
    if (const absl::Status works = CheckWithLearner(*spec); !works.ok()) return Fail(works);
    for (const absl::Status& missing : MissingInputs(*spec)) Note(absl::StrCat("not here: ", missing.message()));
    const v1::MemoryPlan memory = MakeMemoryPlan(*spec, ThisMachine(), worker);
    if (output == "json") {
      v1::ResolveRunResponse response;
      *response.mutable_spec() = *spec;
      response.set_spec_hash(RunHash(*spec));
      *response.mutable_memory_plan() = memory;
      Print(ToJson(response, true) + "\n");
    } else {
      Print(DryRunText(*spec, memory));
    }
    return kExitOk;
  }
  const auto client = ControlClient::Connect(coordinator);
  if (!client.ok()) return Fail(client.status());
  // The request's id makes a repeated command (after a broken connection) one run.
  absl::StatusOr<v1::Run> run = (*client)->CreateRun(*spec, "hone-run/" + RunHash(*spec));
  if (!run.ok()) return Fail(run.status());
  if (IsFinal(run->state())) NoteEndedBefore(*run);
  if (!wait) {
    Print(output == "json" ? ToJson(*run, true) + "\n" : run->name() + "\n");
    return run->state() == v1::RUN_STATE_FAILED ? kExitFailed : kExitOk;
  }
  WatchOptions options;
  options.json = output == "json";
  run = WatchUntilEnd(client->get(), run->name(), options);
  if (!run.ok()) return Fail(run.status());
  const int exit = ReportEnd(*run);
  if (!options.json) Print(SummaryTable(run->output_dir()));
  return exit;
}

}  // namespace hone::cli
