// `hone generate`: completions from a model folder, on this machine.
#include "rollout_worker/generate.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

namespace hone::cli {
namespace {

void PrintJson(const GenerateRequest& request, const GenerateReport& report) {
  for (const GeneratedCompletion& c : report.completions) {
    const nlohmann::ordered_json row = {{"prompt_index", c.prompt_index},
                                        {"sample_index", c.sample_index},
                                        {"prompt", request.prompts[static_cast<size_t>(c.prompt_index)]},
                                        {"completion", c.text},
                                        {"finish_reason", c.finish_reason},
                                        {"tokens", c.tokens},
                                        {"mean_logprob", c.mean_logprob}};
    Print(row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
}

void PrintTexts(const GenerateRequest& request, const GenerateReport& report) {
  for (const GeneratedCompletion& c : report.completions) {
    if (report.completions.size() > 1) {
      Print(absl::StrFormat("--- prompt %d, sample %d (%d tokens, %s): %s\n", c.prompt_index, c.sample_index, c.tokens,
                            c.finish_reason, OneLine(request.prompts[static_cast<size_t>(c.prompt_index)], 60)));
    }
    Print(c.text + "\n");
  }
}

}  // namespace

int RunGenerate(const Args& args) {
  LocalModel::Options options;
  GenerateRequest request;
  std::string prompt, prompt_file, field = "prompt", system, dtype = "bf16", output = "table";
  std::vector<std::string> stop;
  double temperature = 1, top_p = 1, min_p = 0;
  int64_t seed = 0;
  int kv_memory_mib = 1024;
  engine::GroupRequest& settings = request.settings;
  FlagParser flags =
      MakeFlags("generate", "Completes prompts with the model in a Hugging Face folder, in this process.",
                {"hone generate --model models/smollm2 --chat --prompt 'What is 7 times 8?'",
                 "hone generate --model models/mine --prompts problems.jsonl --samples 4 --output json"});
  flags.Add("model", &options.directory, "the model folder; required");
  flags.Add("prompt", &prompt, "one prompt");
  flags.Add("prompts", &prompt_file, "a JSONL file of prompts");
  flags.Add("field", &field, "the field of --prompts that holds the prompt");
  flags.Add("chat", &request.chat, "put prompts into the model's chat template");
  flags.Add("system", &system, "system message, with --chat");
  flags.Add("samples", &request.samples, "completions of each prompt");
  flags.Add("temperature", &temperature, "0 = greedy");
  flags.Add("top_k", &settings.sampling.top_k, "0 = off");
  flags.Add("top_p", &top_p, "1 = off");
  flags.Add("min_p", &min_p, "0 = off");
  flags.Add("max_new_tokens", &settings.max_new_tokens, "longest completion, in tokens");
  flags.Add("min_new_tokens", &settings.min_new_tokens, "shortest completion, in tokens");
  flags.Add("stop", &settings.stop_strings, "a text that ends a completion; may be repeated");
  flags.Add("seed", &seed, "equal seeds give equal completions");
  flags.Add("dtype", &dtype, "bf16 or fp32");
  flags.Add("threads", &options.threads, "compute threads; 0 = one per core");
  flags.Add("kv_memory_mib", &kv_memory_mib, "upper limit of the KV cache, in MiB");
  flags.Add("output", &output, "table or json (one line a completion)");
  if (const auto exit = ParseArgs(&flags, "generate", args)) return *exit;
  if (const auto exit = RefuseOutputFlag(output)) return *exit;
  if (options.directory.empty() || prompt.empty() == prompt_file.empty() || (dtype != "bf16" && dtype != "fp32")) {
    Note("generate: expected --model DIR, one of --prompt and --prompts, and --dtype bf16 or fp32");
    return kExitUsage;
  }
  settings.sampling.temperature = static_cast<float>(temperature);
  settings.sampling.top_p = static_cast<float>(top_p);
  settings.sampling.min_p = static_cast<float>(min_p);
  request.seed = static_cast<uint64_t>(seed);
  if (!system.empty()) request.system_prompt = system;
  options.dtype = dtype == "fp32" ? kernels::DType::kF32 : kernels::DType::kBf16;
  options.engine.kv_cache_bytes = int64_t{kv_memory_mib} << 20;
  request.prompts = {prompt};
  if (!prompt_file.empty()) {
    auto prompts = ReadPromptFile(prompt_file, field);
    if (!prompts.ok()) return Fail(prompts.status());
    request.prompts = *std::move(prompts);
  }
  auto model = LocalModel::Open(options);
  if (!model.ok()) return Fail(model.status());
  double shown = 0;
  const auto report = Generate(model->get(), request, [&shown](const GenerateProgress& progress) {
    if (progress.seconds - shown < 1) return;  // a line of progress a second is enough
    shown = progress.seconds;
    std::fprintf(stderr, "\r%d of %d prompts, %lld tokens, %.0f tokens/s ", progress.prompts_done, progress.prompts,
                 static_cast<long long>(progress.sampled_tokens),
                 static_cast<double>(progress.sampled_tokens) / progress.seconds);
  });
  if (shown > 0) std::fprintf(stderr, "\n");
  if (!report.ok()) return Fail(report.status());
  output == "json" ? PrintJson(request, *report) : PrintTexts(request, *report);
  std::fprintf(stderr, "%lld prompt tokens, %lld new tokens in %.2f s: %.1f tokens/s (%s)\n",
               static_cast<long long>(report->prompt_tokens), static_cast<long long>(report->sampled_tokens),
               report->seconds,
               report->seconds > 0 ? static_cast<double>(report->sampled_tokens) / report->seconds : 0.0,
               (*model)->numerics_key().c_str());
  return kExitOk;
}

}  // namespace hone::cli
