#include "learner/testing/tiny_world.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/files.h"

namespace hone::learner {
namespace {

void Write(const std::string& path, const std::string& contents) {
  std::ofstream out(path, std::ios::binary);
  out << contents;
  out.close();
  HONE_CHECK(out.good()) << path;
}

}  // namespace

std::string FreshFolder(const std::string& name) {
  const std::string path = std::filesystem::absolute(absl::StrCat("learner-", name)).string();
  HONE_CHECK_OK(RemoveTree(path));
  HONE_CHECK_OK(CreateDirectories(path));
  return path;
}

std::string TinyWord(int id) {
  if (id == 0) return "<pad>";
  if (id == 1) return "<eos>";
  return absl::StrCat("w", id);
}

void WriteTinyModel(const std::string& folder) {
  HONE_CHECK_OK(CreateDirectories(folder));
  Write(JoinPath(folder, "config.json"),
        R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 40, "hidden_size": 16,
"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
"max_position_embeddings": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true,
"initializer_range": 0.1, "eos_token_id": 1, "pad_token_id": 0, "torch_dtype": "float32"})");
  std::string vocabulary;
  for (int id = 0; id < kTinyVocab; ++id)
    absl::StrAppend(&vocabulary, id == 0 ? "" : ", ", "\"", TinyWord(id), "\": ", id);
  Write(JoinPath(folder, "tokenizer.json"),
        absl::StrCat(R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
{"id": 0, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
{"id": 1, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
"model": {"type": "WordLevel", "vocab": {)",
                     vocabulary, R"(}, "unk_token": "<pad>"}})"));
  Write(JoinPath(folder, "tokenizer_config.json"),
        R"({"eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<pad>", "model_max_length": 64})");
}

model::ModelConfig TinyConfig() {
  const std::string folder = FreshFolder("tiny-config");
  WriteTinyModel(folder);
  auto config = model::LoadModelConfig(folder);
  HONE_CHECK(config.ok()) << config.status().ToString();
  return *std::move(config);
}

void WriteTinyData(const std::string& path, int rows, int seed) {
  std::string text;
  for (int i = 0; i < rows; ++i) {
    const int a = 2 + (i * 7 + seed) % (kTinyVocab - 2);
    const int b = 2 + (i * 11 + seed * 3) % (kTinyVocab - 2);
    absl::StrAppend(&text, "{\"prompt\": \"", TinyWord(a), " ", TinyWord(b), "\", \"completion\": \"", TinyWord(b), " ",
                    TinyWord(a), "\", \"answer\": \"", TinyWord(a), "\"}\n");
  }
  Write(path, text);
}

v1::RunSpec TinyRun(const std::string& folder, const std::string& kind, int steps) {
  WriteTinyModel(JoinPath(folder, "model"));
  WriteTinyData(JoinPath(folder, "data.jsonl"), 50, 1);
  v1::RunSpec spec;
  spec.set_name("tiny");
  spec.set_seed(7);
  spec.mutable_model()->set_path(JoinPath(folder, "model"));
  spec.mutable_model()->set_random_init(true);
  spec.mutable_numerics()->set_dtype(v1::DTYPE_FP32);
  spec.mutable_checkpoints()->set_every_steps(2);
  (*spec.mutable_datasets())["data"].add_sources()->set_path(JoinPath(folder, "data.jsonl"));
  v1::StageSpec* stage = spec.add_stages();
  stage->set_name(kind);
  v1::OptimizerSpec* optimizer = nullptr;
  if (kind == "pretrain") {
    stage->mutable_pretrain()->set_dataset("data");
    stage->mutable_pretrain()->set_steps(steps);
    stage->mutable_pretrain()->set_batch_size(8);
    optimizer = stage->mutable_pretrain()->mutable_optimizer();
  } else {
    v1::RlStage* rl = stage->mutable_rl();
    rl->set_dataset("data");
    rl->set_steps(steps);
    rl->set_minibatches(2);
    rl->mutable_sampling()->set_temperature(1);
    rl->mutable_sampling()->set_max_new_tokens(8);
    optimizer = rl->mutable_optimizer();
  }
  optimizer->set_learning_rate(3e-3);
  return spec;
}

model::FlatTensor ValuesOf(Moments& moments, kernels::Moment moment) {
  size_t size = 0;
  for (const int64_t elements : moments.elements()) size += static_cast<size_t>(elements);
  model::FlatTensor values(size);
  float* out = values.data();
  for (size_t i = 0; i < moments.elements().size(); out += moments.elements()[i++]) {
    kernels::ReadMoments(*kernels::KernelContext::Create(1), moments.format(), moment, moments.View(i),
                         moments.elements()[i], out);
  }
  return values;
}

Moments MomentsOf(const model::ModelConfig& config, const model::FlatTensor& values) {
  Moments moments(config, Moments::Format::kF32);
  const std::byte* from = reinterpret_cast<const std::byte*>(values.data());
  for (size_t i = 0; i < moments.elements().size(); ++i) {
    std::copy_n(from, moments.values(i).size(), moments.values(i).data());
    from += moments.values(i).size();
  }
  return moments;
}

}  // namespace hone::learner
