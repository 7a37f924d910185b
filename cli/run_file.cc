#include "cli/run_file.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/memory_report.h"
#include "cli/output.h"
#include "coordinator/run_config/overrides.h"
#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/yaml_reader.h"

namespace hone::cli {
namespace {

std::string Amount(const v1::SftStage& stage) {
  return stage.has_steps() ? absl::StrCat(stage.steps(), " steps of ", stage.batch_size(), " sequences")
                           : absl::StrCat(stage.epochs(), " epochs in batches of ", stage.batch_size());
}

std::string Describe(const v1::EvaluationSpec& evaluation) {
  const std::string problems =
      evaluation.max_problems() > 0 ? absl::StrCat("up to ", Grouped(evaluation.max_problems())) : std::string("all");
  return absl::StrCat(problems, " problems of '", evaluation.dataset(), "' x ", evaluation.samples(), " samples");
}

std::string Describe(const v1::PeriodicEvalSpec& periodic) {
  std::string when;
  const auto add = [&](bool wanted, const std::string& text) {
    if (wanted) absl::StrAppend(&when, when.empty() ? "" : ", ", text);
  };
  add(periodic.at_start(), "at the start");
  add(periodic.every_steps() > 0, absl::StrCat("every ", periodic.every_steps(), " steps"));
  add(periodic.at_end(), "at the end");
  return absl::StrCat("; evaluated ", when, ": ", Describe(periodic.evaluation()));
}

// What a stage will do, in one line.
std::string Describe(const v1::RunSpec& spec, const v1::StageSpec& stage) {
  std::string from = "the model " + spec.model().path();
  if (stage.has_from()) from = absl::StrCat("stage '", stage.from(), "'");
  if (stage.has_from_checkpoint()) from = "the checkpoint " + stage.from_checkpoint();
  if (!stage.has_from() && !stage.has_from_checkpoint() && spec.model().random_init()) {
    from = absl::StrCat("random weights for ", spec.model().path());
  }
  std::string what;
  switch (stage.kind_case()) {
    case v1::StageSpec::kPretrain:
    case v1::StageSpec::kSft: {
      const v1::SftStage& sft = stage.has_pretrain() ? stage.pretrain() : stage.sft();
      what =
          absl::StrCat(Amount(sft), " from '", sft.dataset(), "'", sft.has_evaluate() ? Describe(sft.evaluate()) : "");
      break;
    }
    case v1::StageSpec::kRl: {
      const v1::RlStage& rl = stage.rl();
      const int64_t each = static_cast<int64_t>(rl.prompts_per_step()) * rl.group_size();
      what =
          absl::StrCat(rl.steps(), " steps of ", rl.prompts_per_step(), " prompts x ", rl.group_size(), " samples (",
                       rl.algorithm().dynamic_sampling().max_waves() > 1 ? "at least " : "", Grouped(each * rl.steps()),
                       " rollouts in all) from '", rl.dataset(), "'", rl.has_evaluate() ? Describe(rl.evaluate()) : "");
      break;
    }
    case v1::StageSpec::kEvaluate:
      what = Describe(stage.evaluate().evaluation());
      break;
    case v1::StageSpec::kExport:
      what = "to " + stage.export_().path();
      break;
    case v1::StageSpec::KIND_NOT_SET:
      break;
  }
  return absl::StrCat(stage.name(), " (", StageKindName(stage), ", from ", from, "): ", what);
}

}  // namespace

absl::StatusOr<v1::RunSpec> LoadRunFile(const std::string& path, const std::vector<std::string>& overrides) {
  HONE_ASSIGN_OR_RETURN(v1::RunSpec spec, ReadRunFile(path));
  for (const std::string& assignment : overrides) HONE_RETURN_IF_ERROR(ApplyOverride(&spec, assignment));
  absl::StatusOr<v1::RunSpec> resolved = ResolveRunSpec(spec);
  if (!resolved.ok()) return Annotate(resolved.status(), path);
  return resolved;
}

std::string RunHash(const v1::RunSpec& resolved) { return CanonicalSpecHash(resolved); }

std::string DryRunText(const v1::RunSpec& resolved, const v1::MemoryPlan& memory) {
  std::string text = absl::StrCat("# hash: ", CanonicalSpecHash(resolved), "\n# stages:\n");
  for (int i = 0; i < resolved.stages_size(); ++i) {
    absl::StrAppend(&text, "#   ", i + 1, ". ", Describe(resolved, resolved.stages(i)), "\n");
  }
  absl::StrAppend(&text, MemoryText(memory), "# output: ", resolved.output_dir(), "\n", ToYaml(resolved));
  return text;
}

}  // namespace hone::cli
