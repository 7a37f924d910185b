#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "model/formats/json.h"

namespace hone::model {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json Llama() {
  return json::parse(
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 100, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-05, "hidden_act": "silu", "eos_token_id": 2, "bos_token_id": 1,
    "tie_word_embeddings": true, "rope_theta": 100000.0, "torch_dtype": "bfloat16", "rope_scaling": null})");
}

ModelConfig Parse(const json& object, const char* generation = "") {
  const auto config = ParseModelConfig(object.dump(), generation);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig{});
}

std::string Error(const json& object) {
  const auto config = ParseModelConfig(object.dump(), "");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

TEST(ConfigTest, Llama) {
  const ModelConfig config = Parse(Llama());
  EXPECT_EQ(config.family, Family::kLlama);
  EXPECT_EQ(config.vocab_size, 100);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.ffn_size, 96);
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.rms_epsilon, 1e-5f);
  EXPECT_EQ(config.rope_theta, 1e5);
  EXPECT_EQ(config.max_positions, 512);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.qk_norm);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_EQ(config.pad_token_id, -1);
}

TEST(ConfigTest, FamiliesDifferInBiasesAndNorms) {
  json qwen2 = Llama();
  qwen2["model_type"] = "qwen2";
  qwen2["sliding_window"] = 32768;
  qwen2["use_sliding_window"] = false;
  EXPECT_TRUE(Parse(qwen2).qkv_bias);
  EXPECT_FALSE(Parse(qwen2).output_bias);
  qwen2.erase("use_sliding_window");  // false is its default
  EXPECT_TRUE(Parse(qwen2).qkv_bias);
  json qwen3 = Llama();
  qwen3["model_type"] = "qwen3";
  EXPECT_TRUE(Parse(qwen3).qk_norm);
  EXPECT_FALSE(Parse(qwen3).qkv_bias);
  EXPECT_EQ(Parse(qwen3).head_dim, 128);
  qwen3["head_dim"] = 32;
  EXPECT_EQ(Parse(qwen3).head_dim, 32);
  json biased = Llama();
  biased["attention_bias"] = true;
  biased["mlp_bias"] = true;
  biased["head_dim"] = nullptr;
  EXPECT_TRUE(Parse(biased).qkv_bias && Parse(biased).output_bias && Parse(biased).mlp_bias);
  EXPECT_EQ(Parse(biased).head_dim, 16);
}

TEST(ConfigTest, RopeScalingOldAndNew) {
  json old_key = Llama();
  old_key["rope_scaling"] = {{"rope_type", "llama3"},
                             {"factor", 8.0},
                             {"low_freq_factor", 1.0},
                             {"high_freq_factor", 4.0},
                             {"original_max_position_embeddings", 256}};
  ModelConfig config = Parse(old_key);
  EXPECT_EQ(config.rope_scaling, RopeScaling::kLlama3);
  EXPECT_EQ(config.rope_factor, 8.0);
  EXPECT_EQ(config.rope_original_positions, 256);

  json new_key = Llama();
  new_key.erase("rope_theta");
  new_key.erase("rope_scaling");
  new_key["rope_parameters"] = {{"rope_type", "yarn"}, {"rope_theta", 5e5}, {"factor", 4.0}};
  config = Parse(new_key);
  EXPECT_EQ(config.rope_scaling, RopeScaling::kYarn);
  EXPECT_EQ(config.rope_theta, 5e5);
  EXPECT_EQ(config.rope_original_positions, 512);  // not given: the context
  EXPECT_EQ(config.rope_attention_factor, 0.0);
  new_key["rope_parameters"]["mscale"] = 1.0;
  new_key["rope_parameters"]["mscale_all_dim"] = 1.0;
  EXPECT_EQ(Parse(new_key).rope_attention_factor, 1.0);

  json linear = Llama();
  linear["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(Parse(linear).rope_scaling, RopeScaling::kLinear);
  linear["rope_scaling"]["type"] = "dynamic";
  EXPECT_EQ(Parse(linear).rope_scaling, RopeScaling::kDynamicNtk);
  linear["rope_scaling"]["type"] = "default";
  EXPECT_EQ(Parse(linear).rope_scaling, RopeScaling::kNone);
}

TEST(ConfigTest, EndOfSequenceIds) {
  json object = Llama();
  object["eos_token_id"] = {2, 7};
  EXPECT_THAT(Parse(object).eos_token_ids, ElementsAre(2, 7));
  EXPECT_THAT(Parse(object, R"({"eos_token_id": [9, 2], "pad_token_id": 3})").eos_token_ids, ElementsAre(9, 2));
  object["eos_token_id"] = nullptr;
  EXPECT_TRUE(Parse(object).eos_token_ids.empty());
  object["eos_token_id"] = "</s>";
  EXPECT_EQ(Error(object), "config.json: eos_token_id: expected a token id or a list of token ids, came \"</s>\"");
  object["eos_token_id"] = 100;
  EXPECT_EQ(Error(object), "config.json: eos_token_id: expected ids below vocab_size = 100, came 100");
}

struct BadCase {
  const char* key;
  json value;
  const char* message;
};

TEST(ConfigTest, WhatIsNotSupportedIsNamed) {
  const std::vector<BadCase> cases = {
      {"model_type", "mistral", "model_type: expected \"llama\", \"qwen2\" or \"qwen3\", came \"mistral\""},
      {"hidden_act", "gelu", "hidden_act: expected \"silu\", came \"gelu\""},
      {"sliding_window", 4096, "sliding_window: expected null (sliding windows are not supported), came 4096"},
      {"use_sliding_window", true, "use_sliding_window: expected false"},
      {"layer_types",
       {"full_attention", "sliding_attention"},
       "layer_types: expected \"full_attention\" for every layer"},
      {"num_local_experts", 8,
       "num_local_experts: expected no such key (mixtures of experts are not supported), came 8"},
      {"quantization_config", {{"bits", 4}}, "quantization_config: expected no such key"},
      {"partial_rotary_factor", 0.5, "partial_rotary_factor: expected 1, came 0.5"},
      {"rope_scaling", {{"rope_type", "longrope"}}, "rope_scaling.rope_type: expected"},
      {"rope_scaling", {{"rope_type", "linear"}}, "rope_scaling.factor: missing"},
      {"rope_scaling", 3, "rope_scaling: expected an object, came 3"},
      {"num_key_value_heads", 3, "num_key_value_heads: expected a divisor of num_attention_heads = 4, came 3"},
      {"hidden_size", 66, "hidden_size: expected a multiple of num_attention_heads = 4, came 66"},
      {"head_dim", 15, "head_dim: expected an even number, came 15"},
      {"vocab_size", 0, "vocab_size: expected an integer in [1, 16777216], came 0"},
      {"vocab_size", 1e30, "vocab_size: expected an integer"},
      {"num_hidden_layers", "2", "num_hidden_layers: expected an integer in [1, 4096], came \"2\""},
      {"rms_norm_eps", "small", "rms_norm_eps: expected a number in [0, 1], came \"small\""},
      {"tie_word_embeddings", 1, "tie_word_embeddings: expected true or false, came 1"},
      {"vocab_size", nullptr, "vocab_size: missing"},
  };
  for (const BadCase& bad : cases) {
    json object = Llama();
    object[bad.key] = bad.value;
    EXPECT_THAT(Error(object), HasSubstr(std::string("config.json: ") + bad.message)) << bad.key;
  }
  EXPECT_THAT(Error(json::array()), HasSubstr("expected a JSON object"));
  EXPECT_EQ(ParseModelConfig("{", "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseModelConfig(Llama().dump(), "[").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ConfigTest, WrittenAndReadAgain) {
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    for (const char* rope : {"none", "linear", "dynamic", "yarn", "llama3"}) {
      json object = Llama();
      object["model_type"] = type;
      object["eos_token_id"] = {2, 5};
      if (std::string(rope) != "none") {
        object["rope_scaling"] = {{"rope_type", rope},
                                  {"factor", 3.5},
                                  {"low_freq_factor", 1.5},
                                  {"high_freq_factor", 5.0},
                                  {"original_max_position_embeddings", 128},
                                  {"beta_fast", 30.0},
                                  {"attention_factor", 1.25}};
      }
      const ModelConfig config = Parse(object);
      const std::string text = ModelConfigJson(config, true);
      const auto again = ParseModelConfig(text, "");
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(ModelConfigJson(*again, true), text);
      EXPECT_EQ(again->rms_epsilon, config.rms_epsilon);
      EXPECT_EQ(again->rope_theta, config.rope_theta);
      EXPECT_EQ(again->rope_scaling, config.rope_scaling);
      EXPECT_EQ(again->rope_attention_factor, config.rope_attention_factor);
      EXPECT_EQ(again->eos_token_ids, config.eos_token_ids);
      EXPECT_EQ(again->parameter_count(), config.parameter_count());
      EXPECT_THAT(text, HasSubstr("\"torch_dtype\": \"bfloat16\""));
    }
  }
}

TEST(ConfigTest, LoadNamesTheFolder) {
  EXPECT_EQ(LoadModelConfig("no_such_model").status().code(), absl::StatusCode::kNotFound);
  const std::string directory = "config_test_folder";
  ASSERT_TRUE(CreateDirectories(directory).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(directory, "config.json"), Llama().dump()).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(directory, "generation_config.json"), R"({"eos_token_id": 4})").ok());
  EXPECT_THAT(LoadModelConfig(directory).value().eos_token_ids, ElementsAre(4));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(directory, "config.json"), "{}").ok());
  EXPECT_EQ(LoadModelConfig(directory).status().message(), "config_test_folder: config.json: model_type: missing");
  ASSERT_TRUE(RemoveTree(directory).ok());
}

}  // namespace
}  // namespace hone::model
