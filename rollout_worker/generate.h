// Completions from a model folder, in this process: what `hone generate` does, and what the engine's benchmark
// measures.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "model/tokenizer/prompt_frame.h"
#include "rollout_worker/engine/engine.h"
#include "rollout_worker/loaded_model.h"

namespace hone {

// A Hugging Face folder with an engine over it. Not thread-safe.
class LocalModel {
 public:
  struct Options {
    std::string directory;
    kernels::DType dtype = kernels::DType::kBf16;
    int threads = 0;  // 0 = one per core
    // Open answers why there is none where the folder has no chat template, before the weights are read.
    bool needs_chat_template = false;
    bool hashes_weights = false;  // root_hash() is known
    engine::Engine::Options engine;
  };
  // NOT_FOUND, INVALID_ARGUMENT: a file of the folder is missing or ill-formed (named).
  static absl::StatusOr<std::unique_ptr<LocalModel>> Open(const Options& options);

  engine::Engine& engine() { return *engine_; }
  const ModelText& text() const { return *text_; }
  // model::RootHash of the weights; "" where it was not asked for.
  const std::string& root_hash() const { return root_hash_; }
  std::string numerics_key() const { return ctx_->NumericsKey(weights_->dtype()); }

 private:
  LocalModel() = default;
  std::unique_ptr<kernels::KernelContext> ctx_;
  std::shared_ptr<const ModelText> text_;
  std::unique_ptr<model::ComputeWeights> weights_;
  std::unique_ptr<engine::Engine> engine_;  // after what it refers to
  std::string root_hash_;
};

struct GenerateRequest {
  std::vector<std::string> prompts;
  std::vector<std::string> sources;                     // where each stands ("file:line"), for errors; may be empty
  model::PromptFrame frame = model::PromptFrame::kRaw;  // as a run's data set names it in `template`
  std::string prompt_suffix;                            // after each prompt
  std::optional<std::string> system_prompt;             // for kChat
  int samples = 1;
  uint64_t seed = 0;
  engine::GroupRequest settings;  // sampling, limits and stops; the rest is filled in
};

struct GeneratedCompletion {
  int prompt_index = 0;
  int sample_index = 0;
  std::string text;
  std::string finish_reason;  // "end_of_sequence", "stop_string", "stop_token", "length"
  int tokens = 0;
  double mean_logprob = 0;
};

struct GenerateReport {
  int64_t prompt_tokens = 0;
  int64_t sampled_tokens = 0;
  double seconds = 0;
};

struct GenerateProgress {
  int prompts_done = 0, prompts = 0;
  int64_t sampled_tokens = 0;
  double seconds = 0;
};

// Each may be empty.
struct GenerateCallbacks {
  std::function<void(const GeneratedCompletion&)>
      completion;                                         // by prompt, then sample; as soon as those before are done
  std::function<void(const GenerateProgress&)> progress;  // after each step
};

// INVALID_ARGUMENT names the prompt by its source, or its index; then nothing has been generated.
absl::StatusOr<GenerateReport> Generate(LocalModel* model, const GenerateRequest& request,
                                        const GenerateCallbacks& callbacks);

// Puts the `field` of each line of a JSONL file into the request's prompts. INVALID_ARGUMENT names the line.
absl::Status ReadPromptFile(const std::string& path, const std::string& field, GenerateRequest* request);

}  // namespace hone
