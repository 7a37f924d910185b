// Architecture description, read from and written as Hugging Face config.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {

enum class Family { kLlama, kQwen2, kQwen3 };

enum class RopeScaling { kNone, kLinear, kDynamicNtk, kYarn, kLlama3 };

struct ModelConfig {
  Family family = Family::kLlama;
  int32_t vocab_size = 0;   // V
  int32_t hidden_size = 0;  // D
  int32_t layers = 0;       // L
  int32_t heads = 0;        // H
  int32_t kv_heads = 0;     // K, divides H
  int32_t head_dim = 0;     // E, even
  int32_t ffn_size = 0;     // F
  float rms_epsilon = 1e-6f;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1.0;
  double rope_low_freq_factor = 1.0;    // llama3
  double rope_high_freq_factor = 4.0;   // llama3
  int32_t rope_original_positions = 0;  // llama3, yarn, dynamic
  double rope_beta_fast = 32.0;         // yarn
  double rope_beta_slow = 1.0;          // yarn
  double rope_attention_factor = 0.0;   // yarn; 0 = derived from the factor
  int32_t max_positions = 0;            // context length in tokens
  bool tied_embeddings = false;
  bool qkv_bias = false;     // Qwen2, Llama with attention_bias
  bool output_bias = false;  // o_proj bias (Llama with attention_bias)
  bool mlp_bias = false;
  bool qk_norm = false;  // Qwen3
  double initializer_range = 0.02;
  std::vector<int32_t> eos_token_ids;  // config.json, overridden by generation_config.json
  int32_t bos_token_id = -1;
  int32_t pad_token_id = -1;

  int64_t parameter_count() const;
};

// From config.json's text (and generation_config.json's, may be empty). Unsupported architectures, activations, sliding
// windows, scaling kinds and impossible sizes are INVALID_ARGUMENT naming the key, what was expected and what came.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_json, std::string_view generation_config_json);
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory);
// config.json that transformers loads.
std::string ModelConfigJson(const ModelConfig& config, bool bf16);

}  // namespace hone::model
