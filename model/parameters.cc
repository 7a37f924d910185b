// The parameter list of a model: names, shapes, hashes, initial values, files.
#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/files.h"
#include "base/sha256.h"
#include "kernels/random.h"
#include "model/formats/safetensors.h"
#include "model/model.h"

namespace hone::model {
namespace {

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kLmHead[] = "lm_head.weight";

void AppendLayer(const ModelConfig& config, int layer, std::vector<ParameterInfo>* entries) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const int64_t d = config.hidden_size, f = config.ffn_size;
  const int64_t q = int64_t{config.heads} * config.head_dim, kv = int64_t{config.kv_heads} * config.head_dim;
  const auto add = [&](const char* name, std::vector<int64_t> shape) {
    entries->push_back({prefix + name, std::move(shape)});
  };
  add("input_layernorm.weight", {d});
  add("post_attention_layernorm.weight", {d});
  add("self_attn.q_proj.weight", {q, d});
  add("self_attn.k_proj.weight", {kv, d});
  add("self_attn.v_proj.weight", {kv, d});
  add("self_attn.o_proj.weight", {d, q});
  add("mlp.gate_proj.weight", {f, d});
  add("mlp.up_proj.weight", {f, d});
  add("mlp.down_proj.weight", {d, f});
  if (config.qkv_bias) {
    add("self_attn.q_proj.bias", {q});
    add("self_attn.k_proj.bias", {kv});
    add("self_attn.v_proj.bias", {kv});
  }
  if (config.output_bias) add("self_attn.o_proj.bias", {d});
  if (config.mlp_bias) {
    add("mlp.gate_proj.bias", {f});
    add("mlp.up_proj.bias", {f});
    add("mlp.down_proj.bias", {d});
  }
  if (config.qk_norm) {
    add("self_attn.q_norm.weight", {config.head_dim});
    add("self_attn.k_norm.weight", {config.head_dim});
  }
}

// Tensors that files may hold without being parameters: old exports carry the rotary frequencies, which config.json
// determines.
bool IsDerivedTensor(std::string_view name) { return name.ends_with(".rotary_emb.inv_freq"); }

// A tied model's file may repeat the embedding as lm_head.weight; it must then be the same.
absl::Status CheckTiedHead(const ShardedSafetensors& file, const ParameterInfo& embedding, const float* values) {
  std::vector<float> head(embedding.size);
  HONE_RETURN_IF_ERROR(file.ReadAsF32(kLmHead, embedding.shape, head.data()));
  if (std::memcmp(head.data(), values, head.size() * sizeof(float)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", kLmHead, ": expected the values of ", kEmbedding,
                                                   " (tie_word_embeddings is true), came others"));
  }
  return absl::OkStatus();
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (size_t i = 0; i < shape.size(); ++i) absl::StrAppend(&text, i == 0 ? "" : "x", shape[i]);
  return text;
}

}  // namespace

ParameterLayout::ParameterLayout(const ModelConfig& config) {
  const int64_t v = config.vocab_size, d = config.hidden_size;
  entries_.push_back({kEmbedding, {v, d}});
  entries_.push_back({"model.norm.weight", {d}});
  if (!config.tied_embeddings) entries_.push_back({kLmHead, {v, d}});
  for (int layer = 0; layer < config.layers; ++layer) AppendLayer(config, layer, &entries_);
  std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (ParameterInfo& entry : entries_) {
    entry.size = 1;
    for (int64_t extent : entry.shape) entry.size *= extent;
    entry.decays = entry.shape.size() == 2;
    entry.offset = total_size_;
    total_size_ += entry.size;
  }
}

const ParameterInfo* ParameterLayout::Find(std::string_view name) const {
  const auto it = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const auto& entry, auto n) { return entry.name < n; });
  return it != entries_.end() && it->name == name ? &*it : nullptr;
}

absl::StatusOr<FlatTensor> LoadParameters(const ModelConfig& config, const std::string& directory) {
  HONE_ASSIGN_OR_RETURN(const std::unique_ptr<ShardedSafetensors> file, ShardedSafetensors::Open(directory));
  const ParameterLayout layout(config);
  const auto located = [&](const absl::Status& status) { return Annotate(status, directory); };
  for (const std::string& name : file->names()) {
    if (layout.Find(name) != nullptr || IsDerivedTensor(name) || (config.tied_embeddings && name == kLmHead)) continue;
    return located(absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": surplus: a model of this config.json has no such parameter")));
  }
  // Before memory is asked for: config.json may claim any size, the files prove theirs.
  for (const ParameterInfo& entry : layout.entries()) {
    const TensorInfo* tensor = file->Find(entry.name);
    if (tensor == nullptr) {
      return located(absl::InvalidArgumentError(
          absl::StrCat("tensor ", entry.name, ": missing: expected one of shape ", ShapeString(entry.shape))));
    }
    if (auto status = CheckTensorShape(*tensor, entry.shape); !status.ok()) return located(status);
  }
  FlatTensor masters(layout.total_size());
  for (const ParameterInfo& entry : layout.entries()) {
    if (auto status = file->ReadAsF32(entry.name, entry.shape, masters.data() + entry.offset); !status.ok()) {
      return located(status);
    }
  }
  if (config.tied_embeddings && file->Find(kLmHead) != nullptr) {
    const ParameterInfo* embedding = layout.Find(kEmbedding);
    if (auto status = CheckTiedHead(*file, *embedding, masters.data() + embedding->offset); !status.ok()) {
      return located(status);
    }
  }
  return masters;
}

FlatTensor RandomParameters(const ModelConfig& config, uint64_t seed) {
  const ParameterLayout layout(config);
  FlatTensor masters(layout.total_size());
  const float deviation = static_cast<float>(config.initializer_range);
  for (size_t i = 0; i < layout.entries().size(); ++i) {
    const ParameterInfo& entry = layout.entries()[i];
    float* values = masters.data() + entry.offset;
    if (entry.shape.size() == 2) {
      kernels::NormalDraws(kernels::StreamKey(seed, "init", i), entry.size, values);
      for (int64_t j = 0; j < entry.size; ++j) values[j] *= deviation;
    } else {
      std::fill_n(values, entry.size, entry.name.ends_with(".bias") ? 0.0f : 1.0f);
    }
  }
  return masters;
}

absl::Status SaveParameters(const ModelConfig& config, const FlatTensor& masters, kernels::DType dtype,
                            const std::string& directory, int64_t max_shard_bytes) {
  const ParameterLayout layout(config);
  HONE_CHECK_EQ(static_cast<int64_t>(masters.size()), layout.total_size());
  const bool bf16 = dtype == kernels::DType::kBf16;
  std::vector<TensorSpec> specs;
  for (const ParameterInfo& entry : layout.entries()) {
    specs.push_back({entry.name, bf16 ? DType::kBF16 : DType::kF32, entry.shape});
  }
  HONE_RETURN_IF_ERROR(CreateDirectories(directory));
  HONE_ASSIGN_OR_RETURN(const std::unique_ptr<ShardedSafetensorsWriter> writer,
                        ShardedSafetensorsWriter::Create(directory, std::move(specs), max_shard_bytes));
  for (const ParameterInfo& entry : layout.entries()) {
    HONE_RETURN_IF_ERROR(writer->AppendF32(entry.name, masters.data() + entry.offset, entry.size));
  }
  HONE_RETURN_IF_ERROR(writer->Finish());
  return WriteFileAtomic(JoinPath(directory, "config.json"), ModelConfigJson(config, bf16));
}

std::string RootHash(const ModelConfig& config, const FlatTensor& masters) {
  const ParameterLayout layout(config);
  HONE_CHECK_EQ(static_cast<int64_t>(masters.size()), layout.total_size());
  Sha256 root;
  for (const ParameterInfo& entry : layout.entries()) {
    const char* bytes = reinterpret_cast<const char*>(masters.data() + entry.offset);
    root.Update(absl::StrCat(entry.name, " F32 ", ShapeText(entry.shape), " ",
                             Sha256Hex({bytes, entry.size * sizeof(float)}), "\n"));
  }
  return root.FinishHex();
}

}  // namespace hone::model
