// What model_parity.py asks Hone to compute. Every mode reads and writes plain files.
//
//   parity_tool logits <model folder> <tokens.json> <logits.bin>
//   parity_tool train <model folder> <tokens.json> <gradient folder> <stepped folder> <loss.json>
//   parity_tool export <model folder> <out folder> <f32|bf16> <max shard bytes>
//   parity_tool import <file.gguf> <out folder>
//
// tokens.json: {"sequences": [[id, ...], ...], "learning_rate": .., "weight_decay": ..}. logits.bin: fp32 [rows, V] of
// all sequences, in order, computed as rollout does: chunked prefill with a paged cache. train: the mean negative
// log-prob of every next token, its gradient (as a model folder) and the weights after one AdamW step.
#include <cstring>
#include <iostream>
#include <vector>

#include "base/files.h"
#include "model/formats/gguf_import.h"
#include "model/formats/json.h"
#include "model/model.h"

namespace hone::model {
namespace {

constexpr int kPageTokens = 32;
constexpr size_t kChunkTokens = 37;  // neither a divisor nor a multiple of a page

absl::StatusOr<std::vector<std::vector<int32_t>>> Sequences(const nlohmann::json& input) {
  std::vector<std::vector<int32_t>> sequences;
  const nlohmann::json* list = FindMember(input, "sequences");
  if (list == nullptr || !list->is_array()) return absl::InvalidArgumentError("sequences: expected a list of lists");
  for (const nlohmann::json& sequence : *list) {
    sequences.emplace_back();
    for (const nlohmann::json& token : sequence) {
      if (!token.is_number_integer()) return absl::InvalidArgumentError("sequences: expected token ids");
      sequences.back().push_back(token.get<int32_t>());
    }
  }
  return sequences;
}

float Number(const nlohmann::json& input, const char* key, float fallback) {
  const nlohmann::json* value = FindMember(input, key);
  return value != nullptr && value->is_number() ? value->get<float>() : fallback;
}

absl::Status Logits(const std::string& folder, const std::string& tokens_path, const std::string& out_path) {
  HONE_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(folder));
  HONE_ASSIGN_OR_RETURN(const FlatTensor masters, LoadParameters(config, folder));
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(tokens_path));
  HONE_ASSIGN_OR_RETURN(const nlohmann::json input, ParseJson(text, tokens_path));
  HONE_ASSIGN_OR_RETURN(const auto sequences, Sequences(input));
  const auto ctx = kernels::KernelContext::Create(0);
  ComputeWeights weights(*ctx, config, kernels::DType::kF32, /*for_training=*/false);
  weights.LoadAll(masters);
  InferenceModel model(*ctx, weights);
  std::string out;
  for (const std::vector<int32_t>& sequence : sequences) {
    std::vector<int32_t> pages((sequence.size() + kPageTokens - 1) / kPageTokens);
    for (size_t p = 0; p < pages.size(); ++p) pages[p] = static_cast<int32_t>(pages.size() - 1 - p);
    KvCache cache(config, kernels::DType::kF32, kPageTokens, static_cast<int>(pages.size()));
    for (size_t begin = 0; begin < sequence.size(); begin += kChunkTokens) {
      const size_t count = std::min(kChunkTokens, sequence.size() - begin);
      const Chunk chunk{std::span<const int32_t>(sequence).subspan(begin, count), static_cast<int32_t>(begin),
                        pages.data()};
      std::vector<int64_t> rows(count);
      for (size_t i = 0; i < count; ++i) rows[i] = static_cast<int64_t>(i);
      std::vector<float> hidden(count * config.hidden_size), logits(count * config.vocab_size);
      model.Forward({&chunk, 1}, rows, &cache, hidden.data());
      model.Logits(hidden.data(), count, logits.data());
      out.append(reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float));
    }
  }
  return WriteFileAtomic(out_path, out);
}

absl::Status Train(const std::string& folder, const std::string& tokens_path, const std::string& gradient_folder,
                   const std::string& stepped_folder, const std::string& loss_path) {
  HONE_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(folder));
  HONE_ASSIGN_OR_RETURN(FlatTensor masters, LoadParameters(config, folder));
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(tokens_path));
  HONE_ASSIGN_OR_RETURN(const nlohmann::json input, ParseJson(text, tokens_path));
  HONE_ASSIGN_OR_RETURN(const auto sequences, Sequences(input));
  PackedSequences batch;
  batch.starts.push_back(0);
  for (const std::vector<int32_t>& sequence : sequences) {
    batch.tokens.insert(batch.tokens.end(), sequence.begin(), sequence.end());
    batch.targets.insert(batch.targets.end(), sequence.begin() + 1, sequence.end());
    batch.targets.push_back(-1);
    batch.starts.push_back(static_cast<int64_t>(batch.tokens.size()));
  }
  const auto ctx = kernels::KernelContext::Create(0);
  ComputeWeights weights(*ctx, config, kernels::DType::kF32, /*for_training=*/true);
  weights.LoadAll(masters);
  TrainingModel model(*ctx, weights);
  std::vector<float> logprobs, entropies;
  model.Forward(batch, 1.0f, /*keep=*/true, &logprobs, &entropies);
  double loss = 0.0;
  for (float logprob : logprobs) loss -= logprob;
  loss /= static_cast<double>(logprobs.size());
  const std::vector<float> d_logprob(logprobs.size(), -1.0f / static_cast<float>(logprobs.size()));
  FlatTensor gradients(masters.size()), m(masters.size()), v(masters.size());
  for (FlatTensor* tensor : {&gradients, &m, &v}) std::memset(tensor->data(), 0, tensor->size() * sizeof(float));
  model.Backward(d_logprob, {}, &gradients);
  HONE_RETURN_IF_ERROR(SaveParameters(config, gradients, kernels::DType::kF32, gradient_folder));

  kernels::AdamWParams params{};
  params.learning_rate = Number(input, "learning_rate", 1e-3f);
  params.beta1 = 0.9f;
  params.beta2 = 0.999f;
  params.epsilon = 1e-8f;
  params.bias_correction1 = 1.0 - 0.9;
  params.bias_correction2 = 1.0 - 0.999;
  params.gradient_scale = 1.0f;
  const ParameterLayout layout(config);
  for (const ParameterInfo& entry : layout.entries()) {
    params.weight_decay = entry.decays ? Number(input, "weight_decay", 0.1f) : 0.0f;
    const int64_t at = entry.offset;
    kernels::AdamW(*ctx, params, entry.size, gradients.data() + at, masters.data() + at, m.data() + at, v.data() + at);
  }
  HONE_RETURN_IF_ERROR(SaveParameters(config, masters, kernels::DType::kF32, stepped_folder));
  return WriteFileAtomic(loss_path, DumpJson({{"loss", loss}}));
}

absl::Status Export(const std::string& folder, const std::string& out, const std::string& dtype,
                    int64_t max_shard_bytes) {
  HONE_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(folder));
  HONE_ASSIGN_OR_RETURN(const FlatTensor masters, LoadParameters(config, folder));
  return SaveParameters(config, masters, dtype == "bf16" ? kernels::DType::kBf16 : kernels::DType::kF32, out,
                        max_shard_bytes);
}

absl::Status Run(const std::vector<std::string>& args) {
  if (args.size() == 4 && args[0] == "logits") return Logits(args[1], args[2], args[3]);
  if (args.size() == 6 && args[0] == "train") return Train(args[1], args[2], args[3], args[4], args[5]);
  if (args.size() == 5 && args[0] == "export") return Export(args[1], args[2], args[3], std::atoll(args[4].c_str()));
  if (args.size() == 3 && args[0] == "import") return ImportGguf(args[1], args[2], DType::kF32);
  return absl::InvalidArgumentError("usage: parity_tool logits|train|export|import ... (see parity_tool.cc)");
}

}  // namespace
}  // namespace hone::model

int main(int argc, char** argv) {
  const absl::Status status = hone::model::Run(std::vector<std::string>(argv + 1, argv + argc));
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
