#include "rollout_worker/loaded_model.h"

#include <span>
#include <string_view>
#include <utility>

#include "base/logging.h"

namespace hone {

absl::StatusOr<std::shared_ptr<const ModelText>> ReadModelText(const ModelFiles& files) {
  const auto contents = [&files](const char* name) {
    const auto it = files.find(name);
    return it == files.end() ? std::string_view() : std::string_view(it->second);
  };
  for (const char* name : {"config.json", "tokenizer.json"}) {
    if (!files.contains(name)) return absl::NotFoundError(std::string("the model files lack ") + name);
  }
  auto text = std::make_shared<ModelText>();
  HONE_ASSIGN_OR_RETURN(text->config,
                        model::ParseModelConfig(contents("config.json"), contents("generation_config.json")));
  HONE_ASSIGN_OR_RETURN(text->tokenizer,
                        model::Tokenizer::FromJson(contents("tokenizer.json"), contents("tokenizer_config.json")));
  auto chat = model::ChatTemplate::FromFiles(contents("tokenizer_config.json"), contents("chat_template.jinja"));
  text->chat_template_status = chat.status();
  if (chat.ok()) text->chat_template = *std::move(chat);
  return text;
}

bool LoadedModel::Holds(const std::string& run, int64_t number, const std::string& root_hash,
                        kernels::DType dtype) const {
  return loaded_ && version_.run == run && version_.number == number && version_.root_hash == root_hash &&
         dtype_ == dtype;
}

absl::Status LoadedModel::Prepare(const WeightSnapshot& snapshot, kernels::DType dtype) {
  if (engine_ != nullptr && files_hash_ == snapshot.model_files_hash() && dtype_ == dtype) return absl::OkStatus();
  engine_.reset();
  weights_.reset();
  HONE_ASSIGN_OR_RETURN(text_, ReadModelText(snapshot.model_files()));
  weights_ = std::make_unique<model::ComputeWeights>(ctx_, text_->config, dtype, /*for_training=*/false);
  HONE_ASSIGN_OR_RETURN(engine_, engine::Engine::Create(ctx_, *weights_, text_->tokenizer.get(), options_));
  files_hash_ = snapshot.model_files_hash();
  dtype_ = dtype;
  return absl::OkStatus();
}

absl::Status LoadedModel::Load(const WeightSnapshot& snapshot, kernels::DType dtype) {
  loaded_ = false;
  HONE_RETURN_IF_ERROR(Prepare(snapshot, dtype));
  const size_t expected = model::ParameterLayout(text_->config).entries().size();
  if (snapshot.tensors().size() != expected) {
    return absl::DataLossError("version " + std::to_string(snapshot.version().number) + ": expected " +
                               std::to_string(expected) + " tensors by config.json, got " +
                               std::to_string(snapshot.tensors().size()));
  }
  HONE_RETURN_IF_ERROR(snapshot.VisitTensors(ctx_, [this](std::string_view name, std::span<const float> values) {
    return weights_->LoadTensor(name, values.data(), static_cast<int64_t>(values.size()));
  }));
  version_ = snapshot.version();
  loaded_ = true;
  return absl::OkStatus();
}

}  // namespace hone
