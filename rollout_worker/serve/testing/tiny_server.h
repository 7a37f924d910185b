// A tiny random model with words as tokens, and what is served of it.
#pragma once

#include <memory>

#include "model/model.h"
#include "model/test_models.h"
#include "model/tokenizer/test_tokenizers.h"
#include "rollout_worker/engine/engine.h"
#include "rollout_worker/loaded_model.h"

namespace hone::serve {

struct TinyModel {
  static constexpr int kVocab = 61;
  static constexpr int kContext = 120;

  TinyModel() {
    text.config = model::TinyConfigs(32, 4, 2, 16, 48, kVocab, 2)[0].config;
    text.config.max_positions = kContext;
    text.config.eos_token_ids = {3};
    text.tokenizer = model::NumberedWords(kVocab);
    text.chat_template = model::ChatTemplate::ForFamily(model::ChatTemplate::Family::kChatMl, "", "");
    weights = std::make_unique<model::ComputeWeights>(*context, text.config, kernels::DType::kF32, false);
    weights->LoadAll(model::LivelyParameters(text.config, 7));
  }
  std::unique_ptr<engine::Engine> MakeEngine(const engine::Engine::Options& options = {.page_tokens = 16}) const {
    return engine::Engine::Create(*context, *weights, text.tokenizer.get(), options).value();
  }

  ModelText text;
  std::unique_ptr<kernels::KernelContext> context = kernels::KernelContext::Create(1);
  std::unique_ptr<model::ComputeWeights> weights;
};

}  // namespace hone::serve
