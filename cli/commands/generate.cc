// `hone generate`: completions from a model folder, on this machine.
#include "rollout_worker/generate.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

namespace hone::cli {
namespace {

// The command line as it was given.
struct GenerateFlags {
  std::string directory, prompt, prompt_file, field = "prompt";
  std::string prompt_template, suffix, system, dtype = "bf16", output = "table";
  bool chat = false;
  int samples = 1, threads = 0, kv_memory_mib = 1024;
  double temperature = 1, top_p = 1, min_p = 0;
  double repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0, switch_penalty = 0;
  int64_t seed = 0;
  std::vector<std::string> logit_bias, switch_words;
  engine::GroupRequest settings;

  void AddTo(FlagParser* flags) {
    flags->Add("model", &directory, "the model folder; required");
    flags->Add("prompt", &prompt, "one prompt");
    flags->Add("prompts", &prompt_file, "a JSONL file of prompts");
    flags->Add("field", &field, "the field of --prompts that holds the prompt");
    flags->Add("template", &prompt_template,
               "raw (as it is; the default), chat (the model's chat template) or r1_zero (R1-Zero's frame): as in a "
               "run file");
    flags->Add("chat", &chat, "short for --template chat");
    flags->Add("system", &system, "system message, with --template chat");
    flags->Add("suffix", &suffix, "a text after each prompt, as a run file's prompt_suffix");
    flags->Add("samples", &samples, "completions of each prompt");
    flags->Add("temperature", &temperature, "0 = greedy");
    flags->Add("top_k", &settings.sampling.top_k, "0 = off");
    flags->Add("top_p", &top_p, "1 = off");
    flags->Add("min_p", &min_p, "0 = off");
    flags->Add("max_new_tokens", &settings.max_new_tokens, "longest completion, in tokens");
    flags->Add("min_new_tokens", &settings.min_new_tokens, "shortest completion, in tokens");
    flags->Add("stop", &settings.stop_strings, "a text that ends a completion; may be repeated");
    flags->Add("logit_bias", &logit_bias, "TOKEN_ID:NUMBER is added to that token's logit; may be repeated");
    flags->Add("repetition_penalty", &repetition_penalty, "of tokens in prompt and completion; 1 = off");
    flags->Add("presence_penalty", &presence_penalty, "of tokens in the completion; 0 = off");
    flags->Add("frequency_penalty", &frequency_penalty, "of these, for each time; 0 = off");
    engine::ThinkingControls& thinking = settings.thinking;
    flags->Add("thinking.max_tokens", &thinking.max_tokens, "longest think block, in tokens; 0 = no limit");
    flags->Add("thinking.ignore_ends", &thinking.ignore_ends, "ends of thinking that become --thinking.wait_text");
    flags->Add("thinking.wait_text", &thinking.wait_text, "what thinking goes on with then");
    flags->Add("thinking.answer_cue", &thinking.answer_cue, "what follows the end that the limit forces");
    flags->Add("thinking.begin", &thinking.begin, "what begins thinking; '' = the first token");
    flags->Add("thinking.end", &thinking.end, "what ends it");
    flags->Add("thinking.switch_penalty", &switch_penalty, "taken from logits that begin a switch word; 0 = off");
    flags->Add("thinking.switch_window", &thinking.switch_window, "for so many tokens from the last one on");
    flags->Add("thinking.switch_words", &switch_words, "a switch word (default: alternatively); may be repeated");
    flags->Add("seed", &seed, "equal seeds give equal completions");
    flags->Add("dtype", &dtype, "bf16 or fp32");
    flags->Add("threads", &threads, "compute threads; 0 = one per core");
    flags->Add("kv_memory_mib", &kv_memory_mib, "upper limit of the KV cache, in MiB");
    flags->Add("output", &output, "table or json (one line a completion)");
  }
};

absl::Status Refuse(const char* flag, const char* expected, const std::string& actual) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": expected ", expected, ", got ", actual));
}

absl::StatusOr<model::PromptFrame> FrameOf(const GenerateFlags& flags) {
  const std::string& name = flags.prompt_template;
  if (flags.chat && !name.empty() && name != "chat") {
    return absl::InvalidArgumentError(absl::StrCat("expected --chat or --template ", name, ", not both"));
  }
  if (flags.chat || name == "chat") return model::PromptFrame::kChat;
  if (!flags.system.empty()) return Refuse("system", "--template chat beside it", "none");
  if (name == "r1_zero") return model::PromptFrame::kR1Zero;
  if (name.empty() || name == "raw") return model::PromptFrame::kRaw;
  return Refuse("template", "raw, chat or r1_zero", absl::StrCat("'", name, "'"));
}

absl::StatusOr<engine::LogitControls> LogitControlsOf(const GenerateFlags& flags) {
  engine::LogitControls controls;
  controls.repetition_penalty = static_cast<float>(flags.repetition_penalty);
  controls.presence_penalty = static_cast<float>(flags.presence_penalty);
  controls.frequency_penalty = static_cast<float>(flags.frequency_penalty);
  for (const std::string& entry : flags.logit_bias) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(entry, absl::MaxSplits(':', 1));
    int32_t token = 0;
    float bias = 0;
    if (!absl::SimpleAtoi(parts.first, &token) || !absl::SimpleAtof(parts.second, &bias)) {
      return Refuse("logit_bias", "TOKEN_ID:NUMBER", absl::StrCat("'", entry, "'"));
    }
    controls.bias.emplace_back(token, bias);
  }
  return controls;
}

// All that can be told without the model, for loading one may take minutes. INVALID_ARGUMENT names the flag. The
// prompts of a file are still to be read.
absl::StatusOr<GenerateRequest> MakeRequest(const GenerateFlags& flags) {
  if (flags.directory.empty() || flags.prompt.empty() == flags.prompt_file.empty()) {
    return absl::InvalidArgumentError("expected --model DIR, and one of --prompt and --prompts");
  }
  if (flags.dtype != "bf16" && flags.dtype != "fp32") {
    return Refuse("dtype", "bf16 or fp32", absl::StrCat("'", flags.dtype, "'"));
  }
  if (flags.seed < 0) return Refuse("seed", "0 or more", absl::StrCat(flags.seed));
  if (flags.threads < 0) return Refuse("threads", "0 (one per core) or more", absl::StrCat(flags.threads));
  if (flags.kv_memory_mib < 1) return Refuse("kv_memory_mib", "1 or more", absl::StrCat(flags.kv_memory_mib));
  GenerateRequest request = {.prompts = {flags.prompt},
                             .prompt_suffix = flags.suffix,
                             .samples = flags.samples,
                             .seed = static_cast<uint64_t>(flags.seed),
                             .settings = flags.settings};
  HONE_ASSIGN_OR_RETURN(request.frame, FrameOf(flags));
  if (!flags.system.empty()) request.system_prompt = flags.system;
  request.settings.samples = flags.samples;
  request.settings.sampling.temperature = static_cast<float>(flags.temperature);
  request.settings.sampling.top_p = static_cast<float>(flags.top_p);
  request.settings.sampling.min_p = static_cast<float>(flags.min_p);
  HONE_ASSIGN_OR_RETURN(request.settings.logits, LogitControlsOf(flags));
  request.settings.thinking.switch_penalty = static_cast<float>(flags.switch_penalty);
  if (!flags.switch_words.empty()) request.settings.thinking.switch_words = flags.switch_words;
  // Its fields are called as the flags are.
  if (const absl::Status status = engine::CheckSettings(request.settings); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--", status.message()));
  }
  return request;
}

void PrintJson(const GenerateRequest& request, const GeneratedCompletion& c) {
  const nlohmann::ordered_json row = {{"prompt_index", c.prompt_index},
                                      {"sample_index", c.sample_index},
                                      {"prompt", request.prompts[static_cast<size_t>(c.prompt_index)]},
                                      {"completion", c.text},
                                      {"finish_reason", c.finish_reason},
                                      {"tokens", c.tokens},
                                      {"mean_logprob", c.mean_logprob}};
  Print(row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void PrintText(const GenerateRequest& request, const GeneratedCompletion& c) {
  if (request.prompts.size() * static_cast<size_t>(request.samples) > 1) {
    Print(absl::StrFormat("--- prompt %d, sample %d (%d tokens, %s): %s\n", c.prompt_index, c.sample_index, c.tokens,
                          c.finish_reason, OneLine(request.prompts[static_cast<size_t>(c.prompt_index)], 60)));
  }
  Print(c.text + "\n");
}

// Completions to stdout as they come and, where a person watches, a line of progress below them.
class Output {
 public:
  Output(const GenerateRequest& request, bool json)
      : request_(request), json_(json), terminal_(isatty(STDERR_FILENO) != 0) {}

  GenerateCallbacks callbacks() {
    return {.completion = [this](const GeneratedCompletion& c) { Show(c); },
            .progress = [this](const GenerateProgress& progress) { Show(progress); }};
  }
  void ClearLine() {
    if (open_) std::fputs("\r\033[K", stderr);
    open_ = false;
  }

 private:
  void Show(const GeneratedCompletion& completion) {
    ClearLine();
    json_ ? PrintJson(request_, completion) : PrintText(request_, completion);
  }
  void Show(const GenerateProgress& progress) {
    if (!terminal_ || progress.seconds - shown_ < 1) return;  // a line a second is enough
    shown_ = progress.seconds;
    open_ = true;
    std::fprintf(stderr, "\r%d of %d prompts, %lld tokens, %.0f tokens/s ", progress.prompts_done, progress.prompts,
                 static_cast<long long>(progress.sampled_tokens),
                 static_cast<double>(progress.sampled_tokens) / progress.seconds);
  }

  const GenerateRequest& request_;
  const bool json_, terminal_;
  double shown_ = 0;
  bool open_ = false;  // the line of progress stands there
};

}  // namespace

int RunGenerate(const Args& args) {
  GenerateFlags given;
  FlagParser flags =
      MakeFlags("generate", "Completes prompts with the model in a Hugging Face folder, in this process.",
                {"hone generate --model models/smollm2 --chat --prompt 'What is 7 times 8?'",
                 "hone generate --model runs/quickstart/export/model --template r1_zero --prompt '3 + 4 ='",
                 "hone generate --model models/mine --prompts problems.jsonl --samples 4 --output json"});
  given.AddTo(&flags);
  if (const auto exit = ParseArgs(&flags, "generate", args)) return *exit;
  if (const auto exit = RefuseOutputFlag(given.output)) return *exit;
  absl::StatusOr<GenerateRequest> request = MakeRequest(given);
  if (!request.ok()) {
    Note(absl::StrCat("generate: ", request.status().message()));
    return kExitUsage;
  }
  if (!given.prompt_file.empty()) {
    const absl::Status read = ReadPromptFile(given.prompt_file, given.field, &*request);
    if (!read.ok()) return Fail(read);
  }
  auto model = LocalModel::Open({.directory = given.directory,
                                 .dtype = given.dtype == "fp32" ? kernels::DType::kF32 : kernels::DType::kBf16,
                                 .threads = given.threads,
                                 .needs_chat_template = request->frame == model::PromptFrame::kChat,
                                 .engine = {.kv_cache_bytes = int64_t{given.kv_memory_mib} << 20}});
  if (!model.ok()) return Fail(model.status());
  Output output(*request, given.output == "json");
  const auto report = Generate(model->get(), *request, output.callbacks());
  output.ClearLine();
  if (!report.ok()) return Fail(report.status());
  std::fprintf(stderr, "%lld prompt tokens, %lld new tokens in %.2f s: %.1f tokens/s (%s)\n",
               static_cast<long long>(report->prompt_tokens), static_cast<long long>(report->sampled_tokens),
               report->seconds,
               report->seconds > 0 ? static_cast<double>(report->sampled_tokens) / report->seconds : 0.0,
               (*model)->numerics_key().c_str());
  return kExitOk;
}

}  // namespace hone::cli
