// `hone export`: a run's weights as a Hugging Face folder.
//
// The weights are written by the learner, as a run of one `export` stage that starts from a checkpoint.
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/control_client.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/watch.h"
#include "coordinator/run_config/resolve.h"

namespace hone::cli {
namespace {

// The newest checkpoint of the run's last training stage that has one, or of `stage` (and `step`, where it is not
// negative).
absl::StatusOr<std::string> FindCheckpoint(const v1::Run& run, const std::string& stage, int step) {
  const std::string folder = JoinPath(run.output_dir(), "checkpoints");
  for (int i = run.spec().stages_size() - 1; i >= 0; --i) {
    const v1::StageSpec& spec = run.spec().stages(i);
    if (!IsTrainingStage(spec) || (!stage.empty() && spec.name() != stage)) continue;
    const std::string stage_folder = JoinPath(folder, spec.name());
    const auto names = ListDirectory(stage_folder);
    if (!names.ok()) continue;
    // "step-NNNNNN", sorted: the last is the newest.
    std::string found;
    for (const std::string& name : *names) {
      if (!name.starts_with("step-") || name.ends_with(".tmp")) continue;
      if (step < 0 || std::stoll("0" + name.substr(5)) == step) found = name;
    }
    if (!found.empty()) return JoinPath(stage_folder, found);
  }
  return absl::NotFoundError(absl::StrCat("no checkpoint", stage.empty() ? "" : absl::StrCat(" of stage '", stage, "'"),
                                          step < 0 ? "" : absl::StrCat(" at step ", step), " in ", folder));
}

}  // namespace

int RunExport(const Args& args) {
  std::string coordinator, stage, out, dtype, from_checkpoint;
  int step = -1;
  FlagParser flags = MakeFlags(
      "export",
      "Writes the weights of RUN (else of the one that is running), or of a checkpoint, as a Hugging "
      "Face folder.\nThe learner does it, after the runs that wait.",
      {"hone export quickstart --out models/mine", "hone export quickstart --stage zero --step 40 --out models/forty",
       "hone export --from_checkpoint runs/quickstart/checkpoints/zero/step-000080 --out models/mine"});
  flags.Add("out", &out, "the folder to write; required");
  flags.Add("stage", &stage, "the training stage; else the last");
  flags.Add("step", &step, "the step, of those that were kept; else the newest");
  flags.Add("dtype", &dtype, "fp32 or bf16; else the run's");
  flags.Add("from_checkpoint", &from_checkpoint, "a checkpoint folder, instead of RUN");
  AddCoordinatorFlag(&flags, &coordinator);
  std::vector<std::string> runs;
  if (const auto exit = ParseArgs(&flags, "export", {"[RUN]", 0, 1}, args, &runs)) return *exit;
  if (out.empty() || (!dtype.empty() && dtype != "fp32" && dtype != "bf16") ||
      (!from_checkpoint.empty() && (!runs.empty() || !stage.empty() || step >= 0))) {
    Note("export: expected --out DIR, --dtype fp32 or bf16, and either RUN or --from_checkpoint");
    return kExitUsage;
  }
  if (const auto present = ListDirectory(out); present.ok() && !present->empty()) {
    return Fail(absl::AlreadyExistsError(absl::StrCat(out, ": there are files in it already")));
  }
  const auto client = ControlClient::Connect(coordinator);
  if (!client.ok()) return Fail(client.status());
  v1::DType type = dtype == "bf16" ? v1::DTYPE_BF16 : v1::DTYPE_FP32;
  if (from_checkpoint.empty()) {
    const absl::StatusOr<v1::Run> run = (*client)->PickRun(runs.empty() ? "" : runs[0]);
    if (!run.ok()) return Fail(run.status());
    const absl::StatusOr<std::string> found = FindCheckpoint(*run, stage, step);
    if (!found.ok()) return Fail(found.status());
    from_checkpoint = *found;
    if (dtype.empty()) type = run->spec().numerics().dtype();
  }
  v1::RunSpec spec;
  // A name of its own for each (checkpoint, target): the same export asked for twice is one run.
  const std::string id = Sha256Hex(absl::StrCat(from_checkpoint, "\n", out, "\n", type)).substr(0, 12);
  spec.set_name("export-" + id);
  v1::StageSpec* export_stage = spec.add_stages();
  export_stage->set_name("export");
  export_stage->set_from_checkpoint(from_checkpoint);
  export_stage->mutable_export_()->set_path(out);
  export_stage->mutable_export_()->set_dtype(type);
  absl::StatusOr<v1::RunSpec> resolved = ResolveRunSpec(spec);
  if (!resolved.ok()) return Fail(resolved.status());
  absl::StatusOr<v1::Run> run = (*client)->CreateRun(*resolved, "hone-export/" + id);
  if (run.ok() && run->state() == v1::RUN_STATE_FAILED) run = (*client)->ResumeRun(run->name());
  if (run.ok()) run = WatchUntilEnd(client->get(), run->name(), {.quiet = true});
  if (!run.ok()) return Fail(run.status());
  if (run->state() != v1::RUN_STATE_SUCCEEDED) return ReportEnd(*run);
  Print(out + "\n");
  return kExitOk;
}

}  // namespace hone::cli
