#include "rollout_worker/generate.h"

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/json_rows.h"
#include "kernels/random.h"
#include "model/formats/json.h"

namespace hone {
namespace {

constexpr const char* kModelFiles[] = {"config.json", "generation_config.json", "tokenizer.json",
                                       "tokenizer_config.json", "chat_template.jinja"};

const char* NameOf(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kEndOfSequence:
      return "end_of_sequence";
    case engine::FinishReason::kStopString:
      return "stop_string";
    case engine::FinishReason::kStopToken:
      return "stop_token";
    case engine::FinishReason::kLength:
      break;
  }
  return "length";
}

absl::StatusOr<model::FramedPrompt> EncodePrompt(const ModelText& text, const GenerateRequest& request,
                                                 const std::string& prompt) {
  if (request.frame == model::PromptFrame::kChat && !text.chat_template.has_value()) return text.chat_template_status;
  return model::FramePrompt(*text.tokenizer, prompt,
                            {.frame = request.frame,
                             .suffix = request.prompt_suffix,
                             .system_prompt = request.system_prompt,
                             .chat = text.chat_template.has_value() ? &*text.chat_template : nullptr});
}

GeneratedCompletion Describe(const engine::SampledCompletion& sample, int prompt_index, int sample_index,
                             const ModelText& text) {
  GeneratedCompletion completion = {.prompt_index = prompt_index,
                                    .sample_index = sample_index,
                                    .text = text.tokenizer->Decode(sample.tokens, /*skip_special=*/true),
                                    .finish_reason = NameOf(sample.finish),
                                    .tokens = static_cast<int>(sample.tokens.size())};
  for (const float logprob : sample.logprobs) completion.mean_logprob += static_cast<double>(logprob);
  if (completion.tokens > 0) completion.mean_logprob /= completion.tokens;
  return completion;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalModel>> LocalModel::Open(const Options& options) {
  if (!DirectoryExists(options.directory)) {
    return absl::NotFoundError(absl::StrCat(options.directory, ": no such model folder"));
  }
  ModelFiles files;
  for (const char* name : kModelFiles) {
    const std::string path = JoinPath(options.directory, name);
    if (!FileExists(path)) continue;
    HONE_ASSIGN_OR_RETURN(files[name], ReadFile(path, model::kMaxModelJsonBytes));
  }
  auto text = ReadModelText(files);
  if (!text.ok()) return Annotate(text.status(), options.directory);
  if (options.needs_chat_template && !(*text)->chat_template.has_value()) {
    return Annotate((*text)->chat_template_status, options.directory);
  }
  std::unique_ptr<LocalModel> model(new LocalModel());
  model->text_ = *std::move(text);
  model->ctx_ = kernels::KernelContext::Create(options.threads);
  model->weights_ = std::make_unique<model::ComputeWeights>(*model->ctx_, model->text_->config, options.dtype,
                                                            /*for_training=*/false);
  HONE_ASSIGN_OR_RETURN(const model::FlatTensor masters,
                        model::LoadParameters(model->text_->config, options.directory));
  model->weights_->LoadAll(masters);
  if (options.hashes_weights) model->root_hash_ = model::RootHash(model->text_->config, masters);
  HONE_ASSIGN_OR_RETURN(model->engine_, engine::Engine::Create(*model->ctx_, *model->weights_,
                                                               model->text_->tokenizer.get(), options.engine));
  return model;
}

absl::StatusOr<GenerateReport> Generate(LocalModel* model, const GenerateRequest& request,
                                        const GenerateCallbacks& callbacks) {
  GenerateReport report;
  std::vector<int64_t> handles;
  const auto cancel_all = [&] {
    for (const int64_t handle : handles) model->engine().Cancel(handle);
  };
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    engine::GroupRequest group = request.settings;
    absl::StatusOr<model::FramedPrompt> prompt = EncodePrompt(model->text(), request, request.prompts[i]);
    absl::Status status = prompt.status();
    if (prompt.ok()) {
      group.stream = i;
      group.key = kernels::StreamKey(request.seed, "generate");
      group.samples = request.samples;
      group.prompt_opens_thinking = engine::OpensThinking(prompt->text, group.thinking.begin);
      group.prompt = std::move(prompt->tokens);
      report.prompt_tokens += static_cast<int64_t>(group.prompt.size());
      const auto handle = model->engine().SubmitGroup(std::move(group));
      status = handle.status();
      if (handle.ok()) handles.push_back(*handle);
    }
    if (!status.ok()) {
      cancel_all();
      return Annotate(status, i < request.sources.size() ? request.sources[i] : absl::StrCat("prompt ", i));
    }
  }
  std::map<uint64_t, engine::GroupResult> results;  // that wait for one before them
  uint64_t next = 0;                                // prompt
  const absl::Time start = absl::Now();
  const int64_t sampled_before = model->engine().stats().sampled_tokens;
  while (!model->engine().idle()) {
    for (engine::GroupResult& result : model->engine().Step()) results.emplace(result.stream, std::move(result));
    for (auto it = results.find(next); it != results.end(); it = results.find(++next)) {
      for (size_t s = 0; s < it->second.samples.size() && callbacks.completion; ++s) {
        callbacks.completion(
            Describe(it->second.samples[s], static_cast<int>(next), static_cast<int>(s), model->text()));
      }
      results.erase(it);
    }
    report.seconds = absl::ToDoubleSeconds(absl::Now() - start);
    report.sampled_tokens = model->engine().stats().sampled_tokens - sampled_before;
    if (callbacks.progress) {
      callbacks.progress({static_cast<int>(next + results.size()), static_cast<int>(handles.size()),
                          report.sampled_tokens, report.seconds});
    }
  }
  return report;
}

absl::Status ReadPromptFile(const std::string& path, const std::string& field, GenerateRequest* request) {
  HONE_ASSIGN_OR_RETURN(const std::string contents, ReadFile(path));
  request->prompts.clear();
  request->sources.clear();
  std::istringstream lines(contents);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = absl::StrCat(path, ":", number);
    const absl::StatusOr<nlohmann::json> row = ParseJsonRow(line);
    if (!row.ok()) return Annotate(row.status(), where);
    if (!row->contains(field) || !(*row)[field].is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": expected a string field '", field, "'"));
    }
    request->prompts.push_back((*row)[field].get<std::string>());
    request->sources.push_back(where);
  }
  if (request->prompts.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": no prompts"));
  return absl::OkStatus();
}

}  // namespace hone
