#include "model/config.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "kernels/math.h"
#include "model/formats/json.h"

namespace hone::model {
namespace {

using nlohmann::json;

constexpr char kWhat[] = "config.json";

absl::Status BadKey(std::string_view key, std::string_view expected, const json& came) {
  return absl::InvalidArgumentError(
      absl::StrCat(kWhat, ": ", std::string(key), ": expected ", std::string(expected), ", came ", DumpJson(came, -1)));
}

// The member's value, or nullptr where it is absent or null: Hugging Face writes null for "not set".
const json* Set(const json& object, std::string_view key) {
  const json* value = FindMember(object, key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

absl::Status ReadInt(const json& object, std::string_view key, int64_t min, int64_t max, int32_t* out) {
  const json* value = Set(object, key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number_integer() || (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{1} << 62) ||
      value->get<int64_t>() < min || value->get<int64_t>() > max) {
    return BadKey(key, absl::StrCat("an integer in [", min, ", ", max, "]"), *value);
  }
  *out = static_cast<int32_t>(value->get<int64_t>());
  return absl::OkStatus();
}

absl::Status RequireSize(const json& object, std::string_view key, int32_t max, int32_t* out) {
  if (Set(object, key) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(kWhat, ": ", std::string(key), ": missing"));
  }
  return ReadInt(object, key, 1, max, out);
}

absl::Status ReadDouble(const json& object, std::string_view key, double min, double max, double* out) {
  const json* value = Set(object, key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
    return BadKey(key, absl::StrCat("a number in [", min, ", ", max, "]"), *value);
  }
  *out = value->get<double>();
  return absl::OkStatus();
}

absl::Status ReadBool(const json& object, std::string_view key, bool* out) {
  const json* value = Set(object, key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return BadKey(key, "true or false", *value);
  *out = value->get<bool>();
  return absl::OkStatus();
}

// Token ids are written as one integer or as a list.
absl::Status ReadTokenIds(const json& object, std::string_view key, std::vector<int32_t>* out) {
  const json* value = Set(object, key);
  if (value == nullptr) return absl::OkStatus();
  const json list = value->is_array() ? *value : json::array({*value});
  std::vector<int32_t> ids;
  for (const json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) {
      return BadKey(key, "a token id or a list of token ids", *value);
    }
    ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  *out = std::move(ids);
  return absl::OkStatus();
}

absl::Status ReadFirstTokenId(const json& object, std::string_view key, int32_t* out) {
  std::vector<int32_t> ids;
  HONE_RETURN_IF_ERROR(ReadTokenIds(object, key, &ids));
  if (!ids.empty()) *out = ids[0];
  return absl::OkStatus();
}

absl::Status ReadFamily(const json& object, Family* family) {
  const json* type = Set(object, "model_type");
  if (type == nullptr) return absl::InvalidArgumentError(absl::StrCat(kWhat, ": model_type: missing"));
  if (*type == "llama") {
    *family = Family::kLlama;
  } else if (*type == "qwen2") {
    *family = Family::kQwen2;
  } else if (*type == "qwen3") {
    *family = Family::kQwen3;
  } else {
    return BadKey("model_type", "\"llama\", \"qwen2\" or \"qwen3\"", *type);
  }
  return absl::OkStatus();
}

// Keys that change the computation in ways these families' code does not have: refused where they are in use.
absl::Status RefuseUnsupported(const json& object, Family family) {
  const json* activation = Set(object, "hidden_act");
  if (activation != nullptr && *activation != "silu") return BadKey("hidden_act", "\"silu\"", *activation);
  const json* sliding = Set(object, "use_sliding_window");
  if (sliding != nullptr && *sliding != false) {
    return BadKey("use_sliding_window", "false (sliding windows are not supported)", *sliding);
  }
  // The Qwens name a window that use_sliding_window, false where absent, switches on; elsewhere the window's presence
  // is its use.
  const json* window = Set(object, "sliding_window");
  if (window != nullptr && sliding == nullptr && family == Family::kLlama) {
    return BadKey("sliding_window", "null (sliding windows are not supported)", *window);
  }
  const json* layer_types = Set(object, "layer_types");
  if (layer_types != nullptr) {
    if (!layer_types->is_array()) return BadKey("layer_types", "a list", *layer_types);
    for (const json& type : *layer_types) {
      if (type != "full_attention") return BadKey("layer_types", "\"full_attention\" for every layer", type);
    }
  }
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (const json* experts = Set(object, key); experts != nullptr && *experts != 0) {
      return BadKey(key, "no such key (mixtures of experts are not supported)", *experts);
    }
  }
  if (const json* quantization = Set(object, "quantization_config"); quantization != nullptr) {
    return BadKey("quantization_config", "no such key (quantised weights are not supported)", *quantization);
  }
  return absl::OkStatus();
}

absl::Status ReadRopeKind(const json& rope, RopeScaling* kind) {
  const json* type = Set(rope, "rope_type");
  if (type == nullptr) type = Set(rope, "type");  // before transformers 4.43
  if (type == nullptr || *type == "default") {
    *kind = RopeScaling::kNone;
  } else if (*type == "linear") {
    *kind = RopeScaling::kLinear;
  } else if (*type == "dynamic") {
    *kind = RopeScaling::kDynamicNtk;
  } else if (*type == "yarn") {
    *kind = RopeScaling::kYarn;
  } else if (*type == "llama3") {
    *kind = RopeScaling::kLlama3;
  } else {
    return BadKey("rope_scaling.rope_type", "\"default\", \"linear\", \"dynamic\", \"yarn\" or \"llama3\"", *type);
  }
  return absl::OkStatus();
}

// mscale and mscale_all_dim (DeepSeek's way to state YaRN's attention factor) are folded into rope_attention_factor.
absl::Status ReadYarnFactor(const json& rope, ModelConfig* config) {
  HONE_RETURN_IF_ERROR(ReadDouble(rope, "attention_factor", 1e-3, 1e3, &config->rope_attention_factor));
  double mscale = 0.0, mscale_all_dim = 0.0;
  HONE_RETURN_IF_ERROR(ReadDouble(rope, "mscale", 0.0, 1e3, &mscale));
  HONE_RETURN_IF_ERROR(ReadDouble(rope, "mscale_all_dim", 0.0, 1e3, &mscale_all_dim));
  if (config->rope_attention_factor == 0.0 && mscale != 0.0 && mscale_all_dim != 0.0 && config->rope_factor > 1.0) {
    const double log_factor = kernels::Log(config->rope_factor);
    config->rope_attention_factor = (0.1 * mscale * log_factor + 1.0) / (0.1 * mscale_all_dim * log_factor + 1.0);
  }
  bool truncate = true;
  HONE_RETURN_IF_ERROR(ReadBool(rope, "truncate", &truncate));
  if (!truncate) return BadKey("rope_scaling.truncate", "true", json(false));
  return absl::OkStatus();
}

absl::Status ReadRope(const json& object, ModelConfig* config) {
  HONE_RETURN_IF_ERROR(ReadDouble(object, "rope_theta", 1.0, 1e12, &config->rope_theta));
  double rotated_part = 1.0;
  HONE_RETURN_IF_ERROR(ReadDouble(object, "partial_rotary_factor", 0.0, 1.0, &rotated_part));
  const json* rope = Set(object, "rope_parameters");  // transformers 5
  if (rope == nullptr) rope = Set(object, "rope_scaling");
  if (rope != nullptr) {
    if (!rope->is_object()) return BadKey("rope_scaling", "an object", *rope);
    HONE_RETURN_IF_ERROR(ReadDouble(*rope, "rope_theta", 1.0, 1e12, &config->rope_theta));
    HONE_RETURN_IF_ERROR(ReadDouble(*rope, "partial_rotary_factor", 0.0, 1.0, &rotated_part));
    HONE_RETURN_IF_ERROR(ReadRopeKind(*rope, &config->rope_scaling));
  }
  if (rotated_part != 1.0) return BadKey("partial_rotary_factor", "1", json(rotated_part));
  if (config->rope_scaling == RopeScaling::kNone) return absl::OkStatus();

  if (Set(*rope, "factor") == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(kWhat, ": rope_scaling.factor: missing"));
  }
  HONE_RETURN_IF_ERROR(ReadDouble(*rope, "factor", 1.0, 1e6, &config->rope_factor));
  HONE_RETURN_IF_ERROR(ReadDouble(*rope, "low_freq_factor", 1e-6, 1e6, &config->rope_low_freq_factor));
  HONE_RETURN_IF_ERROR(ReadDouble(*rope, "high_freq_factor", 1e-6, 1e6, &config->rope_high_freq_factor));
  HONE_RETURN_IF_ERROR(ReadDouble(*rope, "beta_fast", 1e-6, 1e6, &config->rope_beta_fast));
  HONE_RETURN_IF_ERROR(ReadDouble(*rope, "beta_slow", 1e-6, 1e6, &config->rope_beta_slow));
  config->rope_original_positions = config->max_positions;
  HONE_RETURN_IF_ERROR(
      ReadInt(*rope, "original_max_position_embeddings", 1, int64_t{1} << 30, &config->rope_original_positions));
  if (config->rope_scaling == RopeScaling::kLlama3 && config->rope_high_freq_factor <= config->rope_low_freq_factor) {
    return BadKey("rope_scaling.high_freq_factor", "more than low_freq_factor", json(config->rope_high_freq_factor));
  }
  if (config->rope_scaling == RopeScaling::kYarn) HONE_RETURN_IF_ERROR(ReadYarnFactor(*rope, config));
  return absl::OkStatus();
}

absl::Status ReadShape(const json& object, ModelConfig* config) {
  // The limits keep every product of two sizes inside int64 and refuse nonsense before memory is asked for.
  HONE_RETURN_IF_ERROR(RequireSize(object, "vocab_size", 1 << 24, &config->vocab_size));
  HONE_RETURN_IF_ERROR(RequireSize(object, "hidden_size", 1 << 20, &config->hidden_size));
  HONE_RETURN_IF_ERROR(RequireSize(object, "intermediate_size", 1 << 24, &config->ffn_size));
  HONE_RETURN_IF_ERROR(RequireSize(object, "num_hidden_layers", 1 << 12, &config->layers));
  HONE_RETURN_IF_ERROR(RequireSize(object, "num_attention_heads", 1 << 12, &config->heads));
  HONE_RETURN_IF_ERROR(RequireSize(object, "max_position_embeddings", 1 << 24, &config->max_positions));
  config->kv_heads = config->heads;
  HONE_RETURN_IF_ERROR(ReadInt(object, "num_key_value_heads", 1, config->heads, &config->kv_heads));
  if (config->heads % config->kv_heads != 0) {
    return BadKey("num_key_value_heads", absl::StrCat("a divisor of num_attention_heads = ", config->heads),
                  json(config->kv_heads));
  }
  if (config->family == Family::kQwen3) config->head_dim = 128;  // the family's default, whatever hidden_size is
  HONE_RETURN_IF_ERROR(ReadInt(object, "head_dim", 1, 1 << 12, &config->head_dim));
  if (config->head_dim == 0) {
    if (config->hidden_size % config->heads != 0) {
      return BadKey("hidden_size", absl::StrCat("a multiple of num_attention_heads = ", config->heads),
                    json(config->hidden_size));
    }
    config->head_dim = config->hidden_size / config->heads;
  }
  if (config->head_dim % 2 != 0) return BadKey("head_dim", "an even number", json(config->head_dim));
  return absl::OkStatus();
}

absl::Status CheckTokenIds(const ModelConfig& config) {
  for (int32_t id : config.eos_token_ids) {
    if (id >= config.vocab_size) {
      return BadKey("eos_token_id", absl::StrCat("ids below vocab_size = ", config.vocab_size), json(id));
    }
  }
  return absl::OkStatus();
}

const char* FamilyName(Family family) {
  switch (family) {
    case Family::kLlama:
      return "llama";
    case Family::kQwen2:
      return "qwen2";
    case Family::kQwen3:
      return "qwen3";
  }
  return "";
}

const char* ArchitectureName(Family family) {
  switch (family) {
    case Family::kLlama:
      return "LlamaForCausalLM";
    case Family::kQwen2:
      return "Qwen2ForCausalLM";
    case Family::kQwen3:
      return "Qwen3ForCausalLM";
  }
  return "";
}

json RopeScalingJson(const ModelConfig& config) {
  json rope;
  switch (config.rope_scaling) {
    case RopeScaling::kNone:
      return nullptr;
    case RopeScaling::kLinear:
      rope["rope_type"] = "linear";
      break;
    case RopeScaling::kDynamicNtk:
      rope["rope_type"] = "dynamic";
      break;
    case RopeScaling::kYarn:
      rope["rope_type"] = "yarn";
      rope["original_max_position_embeddings"] = config.rope_original_positions;
      rope["beta_fast"] = config.rope_beta_fast;
      rope["beta_slow"] = config.rope_beta_slow;
      if (config.rope_attention_factor != 0.0) rope["attention_factor"] = config.rope_attention_factor;
      break;
    case RopeScaling::kLlama3:
      rope["rope_type"] = "llama3";
      rope["original_max_position_embeddings"] = config.rope_original_positions;
      rope["low_freq_factor"] = config.rope_low_freq_factor;
      rope["high_freq_factor"] = config.rope_high_freq_factor;
      break;
  }
  rope["factor"] = config.rope_factor;
  return rope;
}

json TokenIdJson(int32_t id) { return id < 0 ? json(nullptr) : json(id); }

}  // namespace

int64_t ModelConfig::parameter_count() const {
  const int64_t d = hidden_size, q = int64_t{heads} * head_dim, kv = int64_t{kv_heads} * head_dim, f = ffn_size;
  int64_t layer = d * (q + 2 * kv) + q * d + 3 * d * f + 2 * d;
  if (qkv_bias) layer += q + 2 * kv;
  if (output_bias) layer += d;
  if (mlp_bias) layer += 2 * f + d;
  if (qk_norm) layer += 2 * int64_t{head_dim};
  return layers * layer + vocab_size * d * (tied_embeddings ? 1 : 2) + d;
}

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_json, std::string_view generation_config_json) {
  HONE_ASSIGN_OR_RETURN(json object, ParseJson(config_json, kWhat));
  if (!object.is_object()) return absl::InvalidArgumentError(absl::StrCat(kWhat, ": expected a JSON object"));
  ModelConfig config;
  HONE_RETURN_IF_ERROR(ReadFamily(object, &config.family));
  HONE_RETURN_IF_ERROR(RefuseUnsupported(object, config.family));
  HONE_RETURN_IF_ERROR(ReadShape(object, &config));
  double epsilon = 1e-6;
  HONE_RETURN_IF_ERROR(ReadDouble(object, "rms_norm_eps", 0.0, 1.0, &epsilon));
  config.rms_epsilon = static_cast<float>(epsilon);
  HONE_RETURN_IF_ERROR(ReadRope(object, &config));
  HONE_RETURN_IF_ERROR(ReadBool(object, "tie_word_embeddings", &config.tied_embeddings));
  HONE_RETURN_IF_ERROR(ReadDouble(object, "initializer_range", 0.0, 10.0, &config.initializer_range));
  if (config.family == Family::kQwen2) {
    config.qkv_bias = true;  // always, without a key of its own
  } else {
    HONE_RETURN_IF_ERROR(ReadBool(object, "attention_bias", &config.qkv_bias));
    config.output_bias = config.qkv_bias;
  }
  if (config.family == Family::kLlama) HONE_RETURN_IF_ERROR(ReadBool(object, "mlp_bias", &config.mlp_bias));
  config.qk_norm = config.family == Family::kQwen3;
  HONE_RETURN_IF_ERROR(ReadTokenIds(object, "eos_token_id", &config.eos_token_ids));
  HONE_RETURN_IF_ERROR(ReadFirstTokenId(object, "bos_token_id", &config.bos_token_id));
  HONE_RETURN_IF_ERROR(ReadFirstTokenId(object, "pad_token_id", &config.pad_token_id));
  if (!generation_config_json.empty()) {
    HONE_ASSIGN_OR_RETURN(json generation, ParseJson(generation_config_json, "generation_config.json"));
    HONE_RETURN_IF_ERROR(ReadTokenIds(generation, "eos_token_id", &config.eos_token_ids));
    HONE_RETURN_IF_ERROR(ReadFirstTokenId(generation, "bos_token_id", &config.bos_token_id));
    HONE_RETURN_IF_ERROR(ReadFirstTokenId(generation, "pad_token_id", &config.pad_token_id));
  }
  HONE_RETURN_IF_ERROR(CheckTokenIds(config));
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory) {
  const std::string path = JoinPath(directory, "config.json");
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxModelJsonBytes));
  std::string generation;
  const std::string generation_path = JoinPath(directory, "generation_config.json");
  if (FileExists(generation_path)) {
    HONE_ASSIGN_OR_RETURN(generation, ReadFile(generation_path, kMaxModelJsonBytes));
  }
  absl::StatusOr<ModelConfig> config = ParseModelConfig(text, generation);
  if (!config.ok()) return Annotate(config.status(), directory);
  return config;
}

std::string ModelConfigJson(const ModelConfig& config, bool bf16) {
  json out;
  out["architectures"] = json::array({ArchitectureName(config.family)});
  out["model_type"] = FamilyName(config.family);
  out["vocab_size"] = config.vocab_size;
  out["hidden_size"] = config.hidden_size;
  out["intermediate_size"] = config.ffn_size;
  out["num_hidden_layers"] = config.layers;
  out["num_attention_heads"] = config.heads;
  out["num_key_value_heads"] = config.kv_heads;
  out["head_dim"] = config.head_dim;
  out["hidden_act"] = "silu";
  out["max_position_embeddings"] = config.max_positions;
  // The shortest decimal of the float: 1e-05 rather than 9.999999747378752e-06.
  float epsilon = config.rms_epsilon;
  out["rms_norm_eps"] = json::parse(absl::StrCat(epsilon), nullptr, false);
  // The keys of transformers 4, which transformers 5 and other readers take too.
  out["rope_theta"] = config.rope_theta;
  out["rope_scaling"] = RopeScalingJson(config);
  out["tie_word_embeddings"] = config.tied_embeddings;
  if (config.family != Family::kQwen2) out["attention_bias"] = config.qkv_bias;
  if (config.family == Family::kLlama) out["mlp_bias"] = config.mlp_bias;
  if (config.family != Family::kLlama) out["use_sliding_window"] = false;
  out["attention_dropout"] = 0.0;
  out["initializer_range"] = config.initializer_range;
  if (config.eos_token_ids.empty()) {
    out["eos_token_id"] = nullptr;
  } else if (config.eos_token_ids.size() == 1) {
    out["eos_token_id"] = config.eos_token_ids[0];
  } else {
    out["eos_token_id"] = config.eos_token_ids;
  }
  out["bos_token_id"] = TokenIdJson(config.bos_token_id);
  out["pad_token_id"] = TokenIdJson(config.pad_token_id);
  out["torch_dtype"] = bf16 ? "bfloat16" : "float32";
  out["use_cache"] = true;
  return DumpJson(out, 2) + "\n";
}

}  // namespace hone::model
