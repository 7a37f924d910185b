// `hone export`: a run's weights as a Hugging Face folder.
//
// The weights are written by the learner, as a run of one `export` stage that starts from a checkpoint.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/control_client.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/run_file.h"
#include "cli/watch.h"
#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/schema_words.h"

namespace hone::cli {
namespace {

// The checkpoint of the run's last training stage that has one, or of `stage`: what a later stage would start from
// (with keep_best the best), or that of `step`, where it is not negative.
absl::StatusOr<std::string> FindCheckpoint(const v1::Run& run, const std::string& stage, int step) {
  for (int i = run.stages_size() - 1; i >= 0; --i) {
    const v1::StageProgress& progress = run.stages(i);
    if (progress.checkpoints().empty() || (!stage.empty() && progress.name() != stage)) continue;
    if (step < 0) return progress.result_path();
    std::string kept;
    for (const v1::Checkpoint& checkpoint : progress.checkpoints()) {
      if (checkpoint.step() == step) return checkpoint.path();
      absl::StrAppend(&kept, kept.empty() ? "" : ", ", checkpoint.step());
    }
    return absl::NotFoundError(absl::StrCat(run.name(), " has no checkpoint of stage '", progress.name(), "' at step ",
                                            step, "; kept: ", kept));
  }
  return absl::NotFoundError(
      absl::StrCat(run.name(), " has no checkpoint", stage.empty() ? "" : absl::StrCat(" of stage '", stage, "'")));
}

std::string AbsolutePath(const std::string& path) {
  const std::string text = std::filesystem::absolute(path).lexically_normal().string();
  return text.size() > 1 && text.ends_with('/') ? text.substr(0, text.size() - 1) : text;
}

// The dtype of the run that wrote `checkpoint`, by the run.yaml of its output folder:
// <output>/checkpoints/<stage>/<step>. fp32, as which a checkpoint holds its weights, where it lies elsewhere.
absl::StatusOr<v1::DType> DTypeOfCheckpoint(const std::string& checkpoint) {
  const std::filesystem::path output = std::filesystem::path(AbsolutePath(checkpoint)) / ".." / ".." / "..";
  const std::string file = JoinPath(output.lexically_normal().string(), "run.yaml");
  if (!FileExists(file)) return v1::DTYPE_FP32;
  HONE_ASSIGN_OR_RETURN(const v1::RunSpec spec, LoadRunFile(file, {}));
  return spec.numerics().dtype();
}

// Says on stderr what stands before an export that does not begin at once, for that may take hours: runs are carried
// out one after another.
void NoteWait(ControlClient* client, const v1::Run& run) {
  if (run.state() != v1::RUN_STATE_QUEUED) return;
  std::vector<std::string> before;
  if (const auto runs = client->ListRuns(); runs.ok()) {
    for (const v1::Run& other : *runs) {
      if (other.name() == run.name() || IsFinal(other.state())) continue;
      if (other.state() == v1::RUN_STATE_QUEUED && other.create_time().seconds() > run.create_time().seconds())
        continue;
      before.push_back(absl::StrCat(other.name(), " (", RunStateName(other.state()), ")"));
    }
  }
  if (before.empty()) return;
  Note(absl::StrCat("waiting for the learner: ", absl::StrJoin(before, ", "),
                    before.size() > 1 ? " come first" : " comes first"));
}

// True where `folder` holds what an export leaves: the configuration, and the weights in one file or in shards.
bool HoldsExport(const std::string& folder) {
  return FileExists(JoinPath(folder, "config.json")) && (FileExists(JoinPath(folder, "model.safetensors")) ||
                                                         FileExists(JoinPath(folder, "model.safetensors.index.json")));
}

// The run that writes `checkpoint` to `out`. The same export asked for twice is one run, for it has a name of its own
// for each (checkpoint, target); but where an earlier one succeeded and its folder is gone since, or was another
// coordinator's, another is made.
absl::StatusOr<v1::Run> CreateExport(ControlClient* client, const std::string& checkpoint, const std::string& out,
                                     v1::DType dtype) {
  for (int attempt = 0;; ++attempt) {
    const std::string again = attempt == 0 ? "" : absl::StrCat("\n", attempt);
    const std::string id = Sha256Hex(absl::StrCat(checkpoint, "\n", out, "\n", dtype, again)).substr(0, 12);
    v1::RunSpec spec;
    spec.set_name("export-" + id);
    v1::StageSpec* stage = spec.add_stages();
    stage->set_name("export");
    stage->set_from_checkpoint(checkpoint);
    stage->mutable_export_()->set_path(out);
    stage->mutable_export_()->set_dtype(dtype);
    HONE_ASSIGN_OR_RETURN(const v1::RunSpec resolved, ResolveRunSpec(spec));
    absl::StatusOr<v1::Run> run = client->CreateRun(resolved, "hone-export/" + id);
    constexpr int kAttempts = 100;
    if (absl::IsAlreadyExists(run.status()) && attempt < kAttempts) continue;
    if (!run.ok()) return run;
    if (run->state() == v1::RUN_STATE_SUCCEEDED && !HoldsExport(out)) continue;
    const bool broken_off = run->state() == v1::RUN_STATE_FAILED || run->state() == v1::RUN_STATE_STOPPED;
    return broken_off ? client->ResumeRun(run->name()) : run;
  }
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
  flags.Add("step", &step,
            "the step, of those that were kept; else the stage's result: with keep_best its best, else its newest");
  flags.Add("dtype", &dtype,
            "fp32 or bf16; else the run's (with --from_checkpoint: of the run.yaml above it, else fp32)");
  flags.Add("from_checkpoint", &from_checkpoint, "a checkpoint folder, instead of RUN");
  AddCoordinatorFlag(&flags, &coordinator);
  std::vector<std::string> runs;
  if (const auto exit = ParseArgs(&flags, "export", {"[RUN]", 0, 1}, args, &runs)) return *exit;
  if (out.empty() || (!dtype.empty() && dtype != "fp32" && dtype != "bf16") || step < -1 ||
      (!from_checkpoint.empty() && (!runs.empty() || !stage.empty() || step >= 0))) {
    Note("export: expected --out DIR, --dtype fp32 or bf16, --step of at least 0, and either RUN or --from_checkpoint");
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
    if (const absl::Status known = CheckStage(*run, stage); !known.ok()) return Fail(known);
    const absl::StatusOr<std::string> found = FindCheckpoint(*run, stage, step);
    if (!found.ok()) return Fail(found.status());
    from_checkpoint = *found;
    if (dtype.empty()) type = run->spec().numerics().dtype();
  } else if (dtype.empty()) {
    const absl::StatusOr<v1::DType> of_run = DTypeOfCheckpoint(from_checkpoint);
    if (!of_run.ok()) return Fail(Annotate(of_run.status(), "give --dtype: the run's cannot be told"));
    type = *of_run;
  }
  // The coordinator and the learner stand in folders of their own.
  from_checkpoint = AbsolutePath(from_checkpoint);
  out = AbsolutePath(out);
  absl::StatusOr<v1::Run> run = CreateExport(client->get(), from_checkpoint, out, type);
  if (run.ok()) NoteWait(client->get(), *run);
  if (run.ok()) run = WatchUntilEnd(client->get(), run->name(), {.quiet = true});
  if (!run.ok()) return Fail(run.status());
  if (run->state() != v1::RUN_STATE_SUCCEEDED) return ReportEnd(*run);
  if (!HoldsExport(out)) {
    return Fail(absl::NotFoundError(absl::StrCat(out, ": run '", run->name(), "' succeeded, but the weights are not ",
                                                 "there; does the learner write to this machine's disk?")));
  }
  Print(out + "\n");
  return kExitOk;
}

}  // namespace hone::cli
