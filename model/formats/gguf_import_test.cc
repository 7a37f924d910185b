#include "model/formats/gguf_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "base/files.h"
#include "model/formats/gguf_test_file.h"
#include "model/formats/json.h"
#include "model/formats/safetensors.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

using testing::HasSubstr;

constexpr uint64_t kHidden = 8;
constexpr uint64_t kHeads = 2;
constexpr uint64_t kKvHeads = 1;
constexpr uint64_t kHead = 4;
constexpr uint64_t kFfn = 16;

// Every value another one.
std::vector<float> Values(uint64_t count, float start) {
  std::vector<float> values(count);
  for (uint64_t i = 0; i < count; ++i) values[i] = start + static_cast<float>(i) * 0.25f;
  return values;
}

struct Options {
  std::string architecture = "llama";
  std::string pre = "smollm";
  bool output = false;
  float output_offset = 0;
  std::string extra_tensor;
  uint32_t ffn_up_type = 0;
  std::optional<bool> add_bos;
  bool bos = true;
  uint32_t experts = 0;
  float rope_base = 100000.0f;
  std::vector<float> rope_divisors;
};

std::string TinyModel(const Options& options) {
  const std::string& arch = options.architecture;
  GgufTestFile file;
  file.String("general.architecture", arch);
  file.Int(arch + ".block_count", 1);
  file.Int(arch + ".context_length", 64);
  file.Int(arch + ".embedding_length", kHidden);
  file.Int(arch + ".feed_forward_length", kFfn);
  file.Int(arch + ".attention.head_count", kHeads);
  file.Int(arch + ".attention.head_count_kv", kKvHeads);
  file.Float(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
  file.Float(arch + ".rope.freq_base", options.rope_base);
  if (options.experts > 0) file.Int(arch + ".expert_count", options.experts);
  std::vector<std::string> tokens = {"<|endoftext|>", "<|im_end|>", "<tool>"};
  std::vector<int32_t> types = {3, 3, 4};
  for (const char32_t c : ByteAlphabet()) {
    AppendUtf8(c, &tokens.emplace_back());
    types.push_back(1);
  }
  tokens.insert(tokens.end(), {"he", "ĠĠ"});
  types.insert(types.end(), {1, 1});
  file.String("tokenizer.ggml.model", "gpt2");
  file.String("tokenizer.ggml.pre", options.pre);
  file.Strings("tokenizer.ggml.tokens", tokens);
  file.Ints("tokenizer.ggml.token_type", types);
  file.Strings("tokenizer.ggml.merges", {"h e", "Ġ Ġ"});
  if (options.bos) file.Int("tokenizer.ggml.bos_token_id", 0);
  if (options.add_bos.has_value()) file.Bool("tokenizer.ggml.add_bos_token", *options.add_bos);
  file.Int("tokenizer.ggml.eos_token_id", 1);
  file.String("tokenizer.chat_template", "{{ messages }}");
  const uint64_t vocabulary = tokens.size();
  file.F32Tensor("token_embd.weight", {vocabulary, kHidden}, Values(vocabulary * kHidden, 1));
  if (options.output) {
    file.F32Tensor("output.weight", {vocabulary, kHidden}, Values(vocabulary * kHidden, 1 + options.output_offset));
  }
  file.F32Tensor("output_norm.weight", {kHidden}, Values(kHidden, 2));
  file.F32Tensor("blk.0.attn_norm.weight", {kHidden}, Values(kHidden, 3));
  file.F32Tensor("blk.0.attn_q.weight", {kHeads * kHead, kHidden}, Values(kHeads * kHead * kHidden, 4));
  file.F32Tensor("blk.0.attn_k.weight", {kKvHeads * kHead, kHidden}, Values(kKvHeads * kHead * kHidden, 5));
  file.F32Tensor("blk.0.attn_v.weight", {kKvHeads * kHead, kHidden}, Values(kKvHeads * kHead * kHidden, 6));
  if (arch == "qwen2") {
    file.F32Tensor("blk.0.attn_q.bias", {kHeads * kHead}, Values(kHeads * kHead, 7));
    file.F32Tensor("blk.0.attn_k.bias", {kKvHeads * kHead}, Values(kKvHeads * kHead, 8));
    file.F32Tensor("blk.0.attn_v.bias", {kKvHeads * kHead}, Values(kKvHeads * kHead, 9));
  }
  if (arch == "qwen3") {
    file.F32Tensor("blk.0.attn_q_norm.weight", {kHead}, Values(kHead, 10));
    file.F32Tensor("blk.0.attn_k_norm.weight", {kHead}, Values(kHead, 11));
  }
  file.F32Tensor("blk.0.attn_output.weight", {kHidden, kHeads * kHead}, Values(kHeads * kHead * kHidden, 12));
  file.F32Tensor("blk.0.ffn_norm.weight", {kHidden}, Values(kHidden, 13));
  file.F32Tensor("blk.0.ffn_gate.weight", {kFfn, kHidden}, Values(kFfn * kHidden, 14));
  if (options.ffn_up_type == 0) {
    file.F32Tensor("blk.0.ffn_up.weight", {kFfn, kHidden}, Values(kFfn * kHidden, 15));
  } else {
    file.Tensor("blk.0.ffn_up.weight", {1, 256}, options.ffn_up_type, std::string(1024, '\0'));
  }
  file.F32Tensor("blk.0.ffn_down.weight", {kHidden, kFfn}, Values(kFfn * kHidden, 16));
  if (!options.rope_divisors.empty()) file.F32Tensor("rope_freqs.weight", {kHead / 2}, options.rope_divisors);
  if (!options.extra_tensor.empty()) file.F32Tensor(options.extra_tensor, {2}, {1, 2});
  return file.Finish();
}

class GgufImportTest : public testing::Test {
 protected:
  GgufImportTest()
      : folder_(JoinPath("gguf_import_test", testing::UnitTest::GetInstance()->current_test_info()->name())) {
    EXPECT_TRUE(RemoveTree(folder_).ok());
    EXPECT_TRUE(CreateDirectories(folder_).ok());
  }
  ~GgufImportTest() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }

  absl::Status Import(const std::string& contents, DType dtype = DType::kF32) {
    EXPECT_TRUE(WriteFileAtomic(JoinPath(folder_, "m.gguf"), contents).ok());
    return ImportGguf(JoinPath(folder_, "m.gguf"), out(), dtype);
  }
  std::string ErrorOf(const Options& options) {
    const absl::Status status = Import(TinyModel(options));
    EXPECT_FALSE(FileExists(out())) << "half an import was left";
    EXPECT_EQ(ListDirectory(folder_)->size(), 1u);
    return std::string(status.message());
  }
  nlohmann::json Config() const { return *ParseJson(*ReadFile(JoinPath(out(), "config.json")), "config.json"); }
  std::vector<float> Tensor(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto model = ShardedSafetensors::Open(out());
    EXPECT_TRUE(model.ok()) << model.status();
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::vector<float> values(static_cast<size_t>(count));
    const absl::Status status = (*model)->ReadAsF32(name, shape, values.data());
    EXPECT_TRUE(status.ok()) << status;
    return values;
  }
  std::string out() const { return JoinPath(folder_, "out"); }
  const std::string folder_;
};

TEST_F(GgufImportTest, LlamaBecomesAFolder) {
  ASSERT_TRUE(Import(TinyModel({})).ok());
  EXPECT_THAT(*ListDirectory(out()), testing::ElementsAre("config.json", "generation_config.json", "model.safetensors",
                                                          "tokenizer.json", "tokenizer_config.json"));
  const nlohmann::json config = Config();
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["rms_norm_eps"].get<double>(), 1e-5) << "the decimal that was meant, not its fp32 neighbour";
  EXPECT_EQ(config["rope_theta"].get<double>(), 100000.0);
  EXPECT_EQ(config["head_dim"], kHead);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["eos_token_id"], 1);
  EXPECT_EQ(Tensor("model.norm.weight", {kHidden}), Values(kHidden, 2));
  // Rows (pair 0: 0 1, pair 1: 2 3) of a head of four become halves: 0 2 | 1 3.
  const std::vector<float> stored = Values(kHeads * kHead * kHidden, 4);
  const std::vector<float> query = Tensor("model.layers.0.self_attn.q_proj.weight", {kHeads * kHead, kHidden});
  const int order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (size_t row = 0; row < 8; ++row) {
    for (size_t column = 0; column < kHidden; ++column) {
      EXPECT_EQ(query[row * kHidden + column], stored[order[row] * kHidden + column]);
    }
  }
  EXPECT_EQ(Tensor("model.layers.0.self_attn.v_proj.weight", {kHead, kHidden}), Values(kHead * kHidden, 6));

  const auto tokenizer = Tokenizer::FromDirectory(out());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), 0);
  EXPECT_EQ((*tokenizer)->eos_id(), 1);
  EXPECT_TRUE((*tokenizer)->IsSpecial(1));
  EXPECT_FALSE((*tokenizer)->IsSpecial(2));
  const std::vector<int32_t> ids = (*tokenizer)->Encode("he  12<tool><|im_end|>");
  const auto id = [&](const char* piece) { return *(*tokenizer)->FindToken(piece); };
  EXPECT_THAT(ids, testing::ElementsAre(id("he"), id("ĠĠ"), id("1"), id("2"), 2, 1));
}

TEST_F(GgufImportTest, Qwen2HasBiasesAndQwen3HasNorms) {
  ASSERT_TRUE(Import(TinyModel({.architecture = "qwen2", .pre = "qwen2"}), DType::kBF16).ok());
  EXPECT_EQ(Config()["torch_dtype"], "bfloat16");
  EXPECT_EQ(Tensor("model.layers.0.self_attn.k_proj.bias", {kHead}), Values(kHead, 8));
  EXPECT_EQ(Tensor("model.layers.0.self_attn.q_proj.weight", {kHeads * kHead, kHidden})[kHidden], 6.0f)
      << "was permuted";
  ASSERT_TRUE(RemoveTree(out()).ok());
  ASSERT_TRUE(Import(TinyModel({.architecture = "qwen3", .pre = "qwen2"})).ok());
  EXPECT_EQ(Config()["architectures"][0], "Qwen3ForCausalLM");
  EXPECT_EQ(Tensor("model.layers.0.self_attn.q_norm.weight", {kHead}), Values(kHead, 10));
}

TEST_F(GgufImportTest, ASecondCopyOfTheEmbeddingIsTied) {
  ASSERT_TRUE(Import(TinyModel({.output = true, .output_offset = 0.01f})).ok());
  EXPECT_EQ(Config()["tie_word_embeddings"], true);
  EXPECT_EQ((*ShardedSafetensors::Open(out()))->Find("lm_head.weight"), nullptr);
}

TEST_F(GgufImportTest, AnotherOutputMatrixIsNot) {
  ASSERT_TRUE(Import(TinyModel({.output = true, .output_offset = 1000.0f})).ok());
  EXPECT_EQ(Config()["tie_word_embeddings"], false);
  EXPECT_NE((*ShardedSafetensors::Open(out()))->Find("lm_head.weight"), nullptr);
}

TEST_F(GgufImportTest, WhatIsNotUnderstoodIsRefused) {
  EXPECT_THAT(ErrorOf({.architecture = "mamba"}), HasSubstr("'mamba'"));
  EXPECT_THAT(ErrorOf({.pre = "tekken"}), HasSubstr("'tekken'"));
  EXPECT_THAT(ErrorOf({.extra_tensor = "blk.0.ssm_a"}), HasSubstr("blk.0.ssm_a"));
  EXPECT_THAT(ErrorOf({.extra_tensor = "rope_freqs.weight"}), HasSubstr("rope_freqs.weight"));
  EXPECT_THAT(ErrorOf({.experts = 8}), HasSubstr("expert_count"));
}

// Before anything else of the file is judged, and before a folder is made.
TEST_F(GgufImportTest, TensorTypesThatAreNotReadAreNamedFirst) {
  for (const auto& [type, name] : {std::pair(12u, "Q4_K"), {14u, "Q6_K"}, {23u, "IQ4_XS"}, {26u, "I32"}}) {
    const std::string error = ErrorOf({.architecture = "mamba", .ffn_up_type = type});
    EXPECT_THAT(error, HasSubstr("tensor 'blk.0.ffn_up.weight' has GGML type " + std::string(name) + ";"));
  }
}

// What stands before a text in the folder that was written.
TEST_F(GgufImportTest, AddBosTokenBecomesThePostProcessor) {
  const auto prefix = [&](const Options& options) {
    const absl::Status status = Import(TinyModel(options));
    EXPECT_TRUE(status.ok()) << status;
    const auto tokenizer = Tokenizer::FromDirectory(out());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_TRUE(RemoveTree(out()).ok());
    EXPECT_TRUE((*tokenizer)->suffix().empty());
    return (*tokenizer)->prefix();
  };
  EXPECT_THAT(prefix({}), testing::ElementsAre());
  EXPECT_THAT(prefix({.add_bos = true}), testing::ElementsAre(0));
  EXPECT_THAT(prefix({.add_bos = false}), testing::ElementsAre());
  EXPECT_THAT(prefix({.pre = "llama-bpe"}), testing::ElementsAre(0)) << "the pre-tokenizer's default";
  EXPECT_THAT(prefix({.pre = "llama-bpe", .bos = false}), testing::ElementsAre());
  EXPECT_THAT(prefix({.pre = "llama-bpe", .add_bos = false}), testing::ElementsAre());
  EXPECT_THAT(ErrorOf({.add_bos = true, .bos = false}), HasSubstr("add_bos_token is true"));
}

// At base 5e8 and four dimensions the second wavelength is 2 pi sqrt(5e8) = 140496, far beyond 8192: divided by the
// factor.
TEST_F(GgufImportTest, Llama3ScalingIsRecognisedByItsTable) {
  for (const float factor : {8.0f, 32.0f}) {
    ASSERT_TRUE(Import(TinyModel({.rope_base = 5e8f, .rope_divisors = {1, factor}})).ok());
    EXPECT_EQ(Config()["rope_scaling"]["rope_type"], "llama3");
    EXPECT_EQ(Config()["rope_scaling"]["factor"], factor);
    ASSERT_TRUE(RemoveTree(out()).ok());
  }
  EXPECT_THAT(ErrorOf({.rope_base = 5e8f, .rope_divisors = {1, 9}}), HasSubstr("Llama 3.1 or 3.2"));
  EXPECT_THAT(ErrorOf({.rope_base = 5e8f, .rope_divisors = {1.01f, 8}}), HasSubstr("Llama 3.1 or 3.2"));
}

TEST_F(GgufImportTest, AFolderWithFilesIsLeftAlone) {
  ASSERT_TRUE(CreateDirectories(out()).ok());
  ASSERT_TRUE(Import(TinyModel({})).ok()) << "an empty folder is fine";
  EXPECT_EQ(Import(TinyModel({})).code(), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace hone::model
