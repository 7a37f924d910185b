#include "cli/memory_report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/files.h"
#include "base/status.h"
#include "cli/model_folder.h"
#include "cli/output.h"
#include "learner/memory_plan.h"
#include "model/config.h"
#include "rollout_worker/memory_plan.h"
#include "rollout_worker/worker.h"

namespace hone::cli {
namespace {

// Beyond this many parameters a configuration is nonsense, and sums of bytes would leave 64 bits.
constexpr int64_t kMostParameters = int64_t{1} << 50;
constexpr int kSmallKvMemoryMib = 256;
constexpr int kFewSequences = 64;

using Configs = std::map<std::string, model::ModelConfig>;  // by folder

kernels::DType DTypeOf(const v1::RunSpec& spec) {
  return spec.numerics().dtype() == v1::DTYPE_BF16 ? kernels::DType::kBf16 : kernels::DType::kF32;
}
const char* NameOf(kernels::DType dtype) { return dtype == kernels::DType::kBf16 ? "bf16" : "fp32"; }

absl::StatusOr<Configs> ReadConfigs(const v1::RunSpec& spec) {
  Configs configs;
  for (const v1::StageSpec& stage : spec.stages()) {
    const std::string folder = ModelFolder(spec, stage);
    if (configs.contains(folder)) continue;
    if (!FileExists(JoinPath(folder, "config.json"))) {
      return absl::NotFoundError(absl::StrCat("the model folder ", folder,
                                              DirectoryExists(folder) ? " has no config.json" : " is not there yet"));
    }
    HONE_ASSIGN_OR_RETURN(const model::ModelConfig config, model::LoadModelConfig(folder));
    if (config.parameter_count() > kMostParameters) {
      return absl::InvalidArgumentError(absl::StrCat(folder, ": ", config.parameter_count(), " parameters"));
    }
    configs.emplace(folder, config);
  }
  return configs;
}

// The longest prompt and completion that the stage samples; 0 where it samples nothing.
int64_t SampledTokens(const v1::StageSpec& stage, const model::ModelConfig& config) {
  int64_t longest = 0;
  const auto add = [&](int64_t max_prompt, const v1::SamplingSpec& sampling) {
    const int64_t positions = config.max_positions;
    longest =
        std::max(longest, max_prompt > 0 ? std::min(positions, max_prompt + sampling.max_new_tokens()) : positions);
  };
  const auto add_evaluation = [&](const v1::EvaluationSpec& evaluation) {
    add(evaluation.max_prompt_tokens(), evaluation.sampling());
  };
  const auto add_periodic = [&](const auto& training) {
    if (training.has_evaluate()) add_evaluation(training.evaluate().evaluation());
  };
  if (stage.has_pretrain()) add_periodic(stage.pretrain());
  if (stage.has_sft()) add_periodic(stage.sft());
  if (stage.has_rl()) {
    add_periodic(stage.rl());
    add(stage.rl().max_prompt_tokens(), stage.rl().sampling());
  }
  if (stage.has_evaluate()) add_evaluation(stage.evaluate().evaluation());
  return longest;
}

void AddPart(v1::MemoryPlan::Process* process, const char* name, int64_t bytes, std::string note) {
  if (bytes == 0) return;
  v1::MemoryPlan::Part* part = process->add_parts();
  part->set_name(name);
  part->set_bytes(bytes);
  part->set_note(std::move(note));
  process->set_total_bytes(process->total_bytes() + bytes);
}

v1::MemoryPlan::Process NewProcess(const v1::StageSpec& stage, const std::string& folder,
                                   const model::ModelConfig& config) {
  v1::MemoryPlan::Process process;
  process.set_stage(stage.name());
  process.set_model_path(folder);
  process.set_parameters(config.parameter_count());
  return process;
}

void ConsiderLearner(const v1::RunSpec& spec, const v1::StageSpec& stage, const std::string& folder,
                     const model::ModelConfig& config, const Machine& machine, v1::MemoryPlan* plan) {
  const learner::LearnerMemory memory = learner::PlanLearnerMemory(spec, stage, config, machine.threads);
  if (plan->has_learner() && memory.total() <= plan->learner().total_bytes()) return;
  const std::string dtype = NameOf(DTypeOf(spec));
  v1::MemoryPlan::Process process = NewProcess(stage, folder, config);
  AddPart(&process, "masters", memory.masters, "fp32");
  AddPart(&process, "compute_weights", memory.compute_weights,
          dtype + ", packed, each matrix also transposed; rotary tables");
  AddPart(&process, "gradients", memory.gradients, "fp32");
  AddPart(&process, "moments", memory.moments, "AdamW's two");
  AddPart(&process, "reference_model", memory.reference, dtype + ", because kl_coefficient is above 0");
  AddPart(&process, "published_versions", memory.published,
          memory.micro_batch_tokens > 0 ? dtype + ", what is served and its successor" : dtype);
  AddPart(&process, "checkpoint_copy", memory.checkpoint, "because of checkpoints.asynchronous or mode: one_step_off");
  AddPart(&process, "activations", memory.activations,
          absl::StrCat("of a micro-batch of ", Grouped(memory.micro_batch_tokens), " tokens"));
  AddPart(&process, "kernel_scratch", memory.scratch, absl::StrCat(machine.threads, " threads"));
  *plan->mutable_learner() = std::move(process);
  plan->set_micro_batch_tokens(memory.micro_batch_tokens);
}

void ConsiderWorker(const v1::RunSpec& spec, const v1::StageSpec& stage, const std::string& folder,
                    const model::ModelConfig& config, const Worker::Options& options, v1::MemoryPlan* plan) {
  const int64_t tokens = SampledTokens(stage, config);
  if (tokens == 0) return;
  const WorkerMemory memory = PlanWorkerMemory(config, DTypeOf(spec), Worker::EngineOptions(options), tokens);
  const std::pair before(plan->rollout_worker().total_bytes(), plan->sequence_tokens());
  if (plan->has_rollout_worker() && std::pair(memory.total(), tokens) <= before) return;
  const std::string dtype = NameOf(DTypeOf(spec));
  v1::MemoryPlan::Process process = NewProcess(stage, folder, config);
  AddPart(&process, "weights", memory.weights, dtype + ", packed; rotary tables");
  AddPart(&process, "received_version", memory.received, dtype + ", and one tensor as fp32, while it is loaded");
  AddPart(&process, "kv_cache", memory.kv_cache,
          absl::StrCat("--kv_memory_mib ", options.kv_memory_mib, ", or less where that is enough"));
  AddPart(&process, "activations", memory.activations,
          absl::StrCat("of a step with --max_sequences ", options.max_sequences));
  *plan->mutable_rollout_worker() = std::move(process);
  plan->set_kv_bytes_per_token(memory.kv_bytes_per_token);
  plan->set_sequence_tokens(tokens);
  plan->set_sequences_in_cache(memory.sequences_in_cache);
}

v1::MemoryPlan PlanFor(const v1::RunSpec& spec, const Configs& configs, const Machine& machine,
                       const Worker::Options& worker) {
  v1::MemoryPlan plan;
  for (const v1::StageSpec& stage : spec.stages()) {
    const std::string folder = ModelFolder(spec, stage);
    const model::ModelConfig& config = configs.at(folder);
    ConsiderLearner(spec, stage, folder, config, machine, &plan);
    ConsiderWorker(spec, stage, folder, config, worker, &plan);
  }
  plan.set_total_bytes(plan.learner().total_bytes() + plan.rollout_worker().total_bytes());
  plan.set_available_bytes(machine.available_bytes);
  return plan;
}

std::string Size(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= int64_t{1} << 30) return absl::StrFormat("%.2f GiB", value / (1 << 30));
  if (bytes >= 1 << 20) return absl::StrFormat("%.1f MiB", value / (1 << 20));
  return absl::StrFormat("%.1f KiB", value / (1 << 10));
}

// What could be changed in the file or beside it, with what it saves: the plan made again with the change.
std::vector<std::string> Advice(const v1::RunSpec& spec, const Configs& configs, const Machine& machine,
                                const Worker::Options& worker, const v1::MemoryPlan& plan) {
  std::vector<std::pair<int64_t, std::string>> found;
  const auto add = [&](const std::string& what, int64_t saved) {
    if (saved * 100 >= plan.total_bytes()) found.emplace_back(saved, absl::StrCat(what, " saves ", Size(saved)));
  };
  const auto try_change = [&](const std::string& what, const std::function<void(v1::RunSpec*)>& change) {
    v1::RunSpec changed = spec;
    change(&changed);
    add(what, plan.total_bytes() - PlanFor(changed, configs, machine, worker).total_bytes());
  };
  if (DTypeOf(spec) == kernels::DType::kF32) {
    try_change("numerics.dtype: bf16", [](v1::RunSpec* s) { s->mutable_numerics()->set_dtype(v1::DTYPE_BF16); });
  }
  const auto try_recompute = [&](v1::Recompute recompute, const char* name) {
    if (spec.memory().recompute() >= recompute) return;
    try_change(absl::StrCat("memory.recompute: ", name),
               [recompute](v1::RunSpec* s) { s->mutable_memory()->set_recompute(recompute); });
  };
  try_recompute(v1::RECOMPUTE_MLP, "mlp");
  try_recompute(v1::RECOMPUTE_LAYER, "layer");
  if (plan.micro_batch_tokens() > 1) {
    const int tokens = static_cast<int>(plan.micro_batch_tokens() / 2);
    try_change(absl::StrCat("memory.micro_batch_tokens: ", tokens),
               [tokens](v1::RunSpec* s) { s->mutable_memory()->set_micro_batch_tokens(tokens); });
  }
  // In every stage at once: the plan is that of the largest, and the next may be as large.
  for (const auto& [format, name] : {std::pair{v1::MOMENT_FORMAT_BF16, "bf16"}, {v1::MOMENT_FORMAT_FP8, "fp8"}}) {
    try_change(absl::StrCat("optimizer.moments: ", name, " in every stage"), [format = format](v1::RunSpec* s) {
      for (v1::StageSpec& stage : *s->mutable_stages()) {
        v1::OptimizerSpec* optimizer = stage.has_pretrain() ? stage.mutable_pretrain()->mutable_optimizer()
                                       : stage.has_sft()    ? stage.mutable_sft()->mutable_optimizer()
                                       : stage.has_rl()     ? stage.mutable_rl()->mutable_optimizer()
                                                            : nullptr;
        if (optimizer != nullptr) optimizer->set_moments(std::max(optimizer->moments(), format));
      }
    });
  }
  for (int i = 0; i < spec.stages_size(); ++i) {
    const v1::StageSpec& stage = spec.stages(i);
    const std::string path = absl::StrCat("stages.", stage.name());
    if (stage.has_pretrain() || stage.has_sft()) {
      const auto of = [i](v1::RunSpec* s) {
        v1::StageSpec* changed = s->mutable_stages(i);
        return changed->has_pretrain() ? changed->mutable_pretrain() : changed->mutable_sft();
      };
      const v1::SftStage& sft = stage.has_pretrain() ? stage.pretrain() : stage.sft();
      const std::string kind = path + (stage.has_pretrain() ? ".pretrain" : ".sft");
      const int positions = configs.at(ModelFolder(spec, stage)).max_positions;
      const int tokens = (sft.max_tokens() > 0 ? std::min(sft.max_tokens(), positions) : positions) / 2;
      try_change(absl::StrCat(kind, ".max_tokens: ", tokens), [&](v1::RunSpec* s) { of(s)->set_max_tokens(tokens); });
      if (sft.batch_size() > 1) {
        const int batch = sft.batch_size() / 2;
        try_change(absl::StrCat(kind, ".batch_size: ", batch), [&](v1::RunSpec* s) { of(s)->set_batch_size(batch); });
      }
    }
    if (stage.has_rl()) {
      const v1::RlStage& rl = stage.rl();
      if (rl.algorithm().kl_coefficient() > 0) {
        try_change(path + ".rl.algorithm.kl_coefficient: 0", [i](v1::RunSpec* s) {
          s->mutable_stages(i)->mutable_rl()->mutable_algorithm()->set_kl_coefficient(0);
        });
      }
      const int positions = configs.at(ModelFolder(spec, stage)).max_positions;
      const int prompt = (rl.max_prompt_tokens() > 0 ? rl.max_prompt_tokens()
                                                     : std::max(2, positions - rl.sampling().max_new_tokens())) /
                         2;
      try_change(absl::StrCat(path, ".rl.max_prompt_tokens: ", prompt),
                 [&](v1::RunSpec* s) { s->mutable_stages(i)->mutable_rl()->set_max_prompt_tokens(prompt); });
    }
  }
  if (plan.has_rollout_worker()) {
    const auto try_flag = [&](const char* flag, int Worker::Options::*member, int smaller) {
      if (worker.*member <= smaller) return;
      Worker::Options changed = worker;
      changed.*member = smaller;
      add(absl::StrCat("hone up --", flag, " ", smaller),
          plan.total_bytes() - PlanFor(spec, configs, machine, changed).total_bytes());
    };
    try_flag("kv_memory_mib", &Worker::Options::kv_memory_mib, kSmallKvMemoryMib);
    try_flag("max_sequences", &Worker::Options::max_sequences, kFewSequences);
    add("a rollout worker on another machine", plan.rollout_worker().total_bytes());
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> advice;
  advice.reserve(found.size());
  for (auto& [saved, text] : found) advice.push_back(std::move(text));
  return advice;
}

std::string ProcessText(const char* title, const v1::MemoryPlan::Process& process) {
  std::string text = absl::StrFormat("#   %-20s %10s  at most, in stage '%s' (%s: %s parameters)\n", title,
                                     Size(process.total_bytes()), process.stage(), process.model_path(),
                                     Grouped(process.parameters()));
  for (const v1::MemoryPlan::Part& part : process.parts()) {
    std::string name = part.name();
    std::replace(name.begin(), name.end(), '_', ' ');
    absl::StrAppendFormat(&text, "#     %-18s %10s  %s\n", name, Size(part.bytes()), part.note());
  }
  return text;
}

}  // namespace

Machine ThisMachine() {
  Machine machine = {.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lld kB", &kib) == 1) machine.available_bytes = kib * 1024;
  }
  return machine;
}

v1::MemoryPlan MakeMemoryPlan(const v1::RunSpec& resolved, const Machine& machine, const Worker::Options& worker) {
  const absl::StatusOr<Configs> configs = ReadConfigs(resolved);
  if (!configs.ok()) {
    v1::MemoryPlan plan;
    plan.set_unavailable(std::string(configs.status().message()));
    return plan;
  }
  v1::MemoryPlan plan = PlanFor(resolved, *configs, machine, worker);
  if (machine.available_bytes > 0 && plan.total_bytes() > machine.available_bytes) {
    for (std::string& line : Advice(resolved, *configs, machine, worker, plan)) plan.add_advice(std::move(line));
  }
  return plan;
}

std::string MemoryText(const v1::MemoryPlan& plan) {
  if (!plan.unavailable().empty()) return absl::StrCat("# memory: no plan: ", OneLine(plan.unavailable(), 200), "\n");
  std::string text = "# memory, without programs and data:\n";
  absl::StrAppend(&text, ProcessText("learner", plan.learner()));
  if (plan.has_rollout_worker()) {
    absl::StrAppend(&text, ProcessText("rollout worker", plan.rollout_worker()));
    absl::StrAppend(&text, "#     ", Size(plan.kv_bytes_per_token()), " a token: ", Grouped(plan.sequences_in_cache()),
                    " sequences of ", Grouped(plan.sequence_tokens()), " tokens at once\n");
  }
  absl::StrAppend(&text, "#   together ", Size(plan.total_bytes()));
  if (plan.available_bytes() == 0) return absl::StrCat(text, "\n");
  const bool fits = plan.total_bytes() <= plan.available_bytes();
  absl::StrAppend(&text, "; available on this machine now: ", Size(plan.available_bytes()),
                  fits ? "\n" : "; this does not fit:\n");
  for (const std::string& line : plan.advice()) absl::StrAppend(&text, "#     ", line, "\n");
  if (!fits && plan.advice().empty())
    absl::StrAppend(&text, "#     only a smaller model or a larger machine will do\n");
  return text;
}

}  // namespace hone::cli
