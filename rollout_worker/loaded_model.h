// A version of the policy, ready to generate: weights, engine, tokenizer and chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/config.h"
#include "model/model.h"
#include "model/tokenizer/chat_template.h"
#include "model/tokenizer/tokenizer.h"
#include "rollout_worker/engine/engine.h"
#include "weight_sync/weight_channel.h"

namespace hone {

// What is made of a run's model files. Immutable, shared with those who still work on completions of it.
struct ModelText {
  model::ModelConfig config;
  std::unique_ptr<model::Tokenizer> tokenizer;
  std::optional<model::ChatTemplate> chat_template;
  absl::Status chat_template_status;  // why there is none
};

// INVALID_ARGUMENT, NOT_FOUND: a file is missing or ill-formed (named).
absl::StatusOr<std::shared_ptr<const ModelText>> ReadModelText(const ModelFiles& files);

// Not thread-safe. Invariant: `engine()` is null unless every tensor of `version()` is loaded and was checked.
class LoadedModel {
 public:
  // `ctx` must outlive the object.
  LoadedModel(const kernels::KernelContext& ctx, engine::Engine::Options options) : ctx_(ctx), options_(options) {}

  // Takes the snapshot's weights. Only while no group is in work. Tokenizer, engine and memory are kept where the model
  // files and the dtype are those of before. On failure nothing is loaded.
  absl::Status Load(const WeightSnapshot& snapshot, kernels::DType dtype);
  bool Holds(const std::string& run, int64_t number, const std::string& root_hash, kernels::DType dtype) const;

  engine::Engine* engine() { return loaded_ ? engine_.get() : nullptr; }
  const WeightVersion& version() const { return version_; }
  kernels::DType dtype() const { return dtype_; }
  const std::shared_ptr<const ModelText>& text() const { return text_; }

 private:
  absl::Status Prepare(const WeightSnapshot& snapshot, kernels::DType dtype);

  const kernels::KernelContext& ctx_;
  const engine::Engine::Options options_;
  bool loaded_ = false;
  WeightVersion version_;
  kernels::DType dtype_ = kernels::DType::kF32;
  std::string files_hash_;
  std::shared_ptr<const ModelText> text_;
  std::unique_ptr<model::ComputeWeights> weights_;
  std::unique_ptr<engine::Engine> engine_;  // after what it refers to
};

}  // namespace hone
