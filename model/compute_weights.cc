#include "model/compute_weights.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace hone::model {

using kernels::PackedMatrix;

namespace {

constexpr std::string_view kLayerPrefix = "model.layers.";

// "model.layers.<n>.<rest>" -> n and rest. The name comes from ParameterLayout, so it is well-formed.
int SplitLayerName(std::string_view name, std::string_view* rest) {
  name.remove_prefix(kLayerPrefix.size());
  int layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  HONE_CHECK(error == std::errc()) << name;
  *rest = name.substr(end - name.data() + 1);
  return layer;
}

void CopyInto(const float* values, int64_t size, int64_t offset, std::vector<float>* out) {
  std::copy_n(values, size, out->begin() + offset);
}

}  // namespace

ComputeWeights::Impl::Impl(const kernels::KernelContext& context, const ModelConfig& model_config,
                           kernels::DType compute_dtype, bool training)
    : ctx(context),
      config(model_config),
      dtype(compute_dtype),
      for_training(training),
      layout(model_config),
      rope(context.pool(), model_config),
      final_norm(model_config.hidden_size),
      layers(model_config.layers),
      loaded(layout.entries().size(), false) {
  const int64_t d = config.hidden_size, q = int64_t{config.heads} * config.head_dim;
  const int64_t kv = int64_t{config.kv_heads} * config.head_dim;
  for (LayerWeights& layer : layers) {
    layer.input_norm.resize(d);
    layer.post_attention_norm.resize(d);
    if (config.qkv_bias) layer.qkv_bias.resize(q + 2 * kv);
    if (config.output_bias) layer.o_bias.resize(d);
    if (config.mlp_bias) {
      layer.gate_up_bias.resize(2 * int64_t{config.ffn_size});
      layer.down_bias.resize(d);
    }
    if (config.qk_norm) {
      layer.q_norm.resize(config.head_dim);
      layer.k_norm.resize(config.head_dim);
    }
  }
}

void ComputeWeights::Impl::LoadMatrix(const float* values, int64_t n, int64_t k, PackedMatrix* packed,
                                      PackedMatrix* transposed) {
  packed->Pack(ctx, values, n, k, k, dtype);
  if (for_training && transposed != nullptr) transposed->PackTransposed(ctx, values, n, k, k, dtype);
}

void ComputeWeights::Impl::LoadFusedPart(int key, int part, int parts, int64_t first_row, int64_t rows,
                                         int64_t total_rows, const float* values, PackedMatrix* packed,
                                         PackedMatrix* transposed) {
  const int64_t d = config.hidden_size;
  Fused& fused = pending[key];
  if (fused.parts == 0) {
    if (!spare.empty()) {
      fused.rows = std::move(spare.back());
      spare.pop_back();
    }
    fused.rows.Resize(total_rows * d);
  }
  std::copy_n(values, rows * d, fused.rows.data() + first_row * d);
  fused.parts |= 1u << part;
  if (fused.parts != (1u << parts) - 1) return;
  LoadMatrix(fused.rows.data(), total_rows, d, packed, transposed);
  spare.push_back(std::move(fused.rows));
  pending.erase(key);
}

void ComputeWeights::Impl::LoadLayer(int index, std::string_view name, const float* values, int64_t size) {
  LayerWeights& layer = layers[index];
  const int64_t d = config.hidden_size, f = config.ffn_size;
  const int64_t q = int64_t{config.heads} * config.head_dim, kv = int64_t{config.kv_heads} * config.head_dim;
  const auto qkv = [&](int part, int64_t row, int64_t rows) {
    LoadFusedPart(2 * index, part, 3, row, rows, q + 2 * kv, values, &layer.qkv, &layer.qkv_transposed);
  };
  const auto gate_up = [&](int part, int64_t row) {
    LoadFusedPart(2 * index + 1, part, 2, row, f, 2 * f, values, &layer.gate_up, &layer.gate_up_transposed);
  };
  if (name == "self_attn.q_proj.weight") {
    qkv(0, 0, q);
  } else if (name == "self_attn.k_proj.weight") {
    qkv(1, q, kv);
  } else if (name == "self_attn.v_proj.weight") {
    qkv(2, q + kv, kv);
  } else if (name == "self_attn.o_proj.weight") {
    LoadMatrix(values, d, q, &layer.o, &layer.o_transposed);
  } else if (name == "mlp.gate_proj.weight") {
    gate_up(0, 0);
  } else if (name == "mlp.up_proj.weight") {
    gate_up(1, f);
  } else if (name == "mlp.down_proj.weight") {
    LoadMatrix(values, d, f, &layer.down, &layer.down_transposed);
  } else if (name == "input_layernorm.weight") {
    CopyInto(values, size, 0, &layer.input_norm);
  } else if (name == "post_attention_layernorm.weight") {
    CopyInto(values, size, 0, &layer.post_attention_norm);
  } else if (name == "self_attn.q_norm.weight") {
    CopyInto(values, size, 0, &layer.q_norm);
  } else if (name == "self_attn.k_norm.weight") {
    CopyInto(values, size, 0, &layer.k_norm);
  } else if (name == "self_attn.q_proj.bias") {
    CopyInto(values, size, 0, &layer.qkv_bias);
  } else if (name == "self_attn.k_proj.bias") {
    CopyInto(values, size, q, &layer.qkv_bias);
  } else if (name == "self_attn.v_proj.bias") {
    CopyInto(values, size, q + kv, &layer.qkv_bias);
  } else if (name == "self_attn.o_proj.bias") {
    CopyInto(values, size, 0, &layer.o_bias);
  } else if (name == "mlp.gate_proj.bias") {
    CopyInto(values, size, 0, &layer.gate_up_bias);
  } else if (name == "mlp.up_proj.bias") {
    CopyInto(values, size, f, &layer.gate_up_bias);
  } else if (name == "mlp.down_proj.bias") {
    CopyInto(values, size, 0, &layer.down_bias);
  } else {
    HONE_CHECK(false) << "parameter without a place: " << name;
  }
}

void ComputeWeights::Impl::Load(const ParameterInfo& entry, const float* values) {
  const int64_t v = config.vocab_size, d = config.hidden_size;
  if (entry.name == "model.embed_tokens.weight") {
    LoadMatrix(values, v, d, &embedding, config.tied_embeddings ? &lm_head_transposed : nullptr);
  } else if (entry.name == "lm_head.weight") {
    LoadMatrix(values, v, d, &separate_lm_head, &lm_head_transposed);
  } else if (entry.name == "model.norm.weight") {
    CopyInto(values, entry.size, 0, &final_norm);
  } else {
    std::string_view rest;
    const int layer = SplitLayerName(entry.name, &rest);
    LoadLayer(layer, rest, values, entry.size);
  }
  const size_t index = &entry - layout.entries().data();
  if (!loaded[index]) ++loaded_count;
  loaded[index] = true;
}

ComputeWeights::ComputeWeights(const kernels::KernelContext& ctx, const ModelConfig& config, kernels::DType dtype,
                               bool for_training)
    : impl_(std::make_unique<Impl>(ctx, config, dtype, for_training)) {}
ComputeWeights::~ComputeWeights() = default;
ComputeWeights::ComputeWeights(ComputeWeights&&) noexcept = default;

const ModelConfig& ComputeWeights::config() const { return impl_->config; }
kernels::DType ComputeWeights::dtype() const { return impl_->dtype; }

void ComputeWeights::LoadAll(const FlatTensor& masters) {
  HONE_CHECK_EQ(static_cast<int64_t>(masters.size()), impl_->layout.total_size());
  for (const ParameterInfo& entry : impl_->layout.entries()) impl_->Load(entry, masters.data() + entry.offset);
}

absl::Status ComputeWeights::LoadTensor(std::string_view name, const float* values, int64_t size) {
  const ParameterInfo* entry = impl_->layout.Find(name);
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", std::string(name), ": the model has no such parameter"));
  }
  if (entry->size != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", entry->name, ": expected ", entry->size, " values, came ", size));
  }
  impl_->Load(*entry, values);
  return absl::OkStatus();
}

size_t ComputeWeights::size_bytes() const {
  size_t bytes = impl_->embedding.size_bytes() + impl_->separate_lm_head.size_bytes() +
                 impl_->lm_head_transposed.size_bytes() + impl_->final_norm.size() * sizeof(float);
  for (const LayerWeights& layer : impl_->layers) {
    for (const PackedMatrix* matrix : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down, &layer.qkv_transposed,
                                       &layer.o_transposed, &layer.gate_up_transposed, &layer.down_transposed}) {
      bytes += matrix->size_bytes();
    }
    for (const std::vector<float>* vector :
         {&layer.qkv_bias, &layer.o_bias, &layer.gate_up_bias, &layer.down_bias, &layer.input_norm,
          &layer.post_attention_norm, &layer.q_norm, &layer.k_norm}) {
      bytes += vector->size() * sizeof(float);
    }
  }
  return bytes;
}

}  // namespace hone::model
