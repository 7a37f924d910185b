#include "model/layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace hone::model {
namespace {

using kernels::KernelContext;

struct Shape {
  explicit Shape(const ModelConfig& config)
      : d(config.hidden_size),
        f(config.ffn_size),
        e(config.head_dim),
        heads(config.heads),
        kv_heads(config.kv_heads),
        q_width(int64_t{config.heads} * config.head_dim),
        kv_width(int64_t{config.kv_heads} * config.head_dim),
        qkv_width(q_width + 2 * kv_width) {}
  int64_t d, f, e;
  int heads, kv_heads;
  int64_t q_width, kv_width, qkv_width;
};

float AttentionScale(const ModelConfig& config) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
}

// q and k of `qkv` after norm (where the model has it) and rotation; in `rotated` with QK-norm, else in place.
void NormAndRotate(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch, float* qkv,
                   float* rotated) {
  const KernelContext& ctx = weights.ctx;
  const ModelConfig& config = weights.config;
  const Shape s(config);
  float* target = qkv;
  if (config.qk_norm) {
    const LayerWeights& w = weights.layers[layer];
    target = rotated;
    // A token's heads lie E apart, its neighbour's Q away: one call for a token's q heads, one for its k heads, tokens
    // in parallel.
    ctx.pool().ParallelFor(batch.rows, 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const float* from = qkv + t * s.qkv_width;
        float* to = rotated + t * s.qkv_width;
        kernels::RmsNorm(ctx, from, s.e, w.q_norm.data(), config.rms_epsilon, s.heads, s.e, to, s.e, nullptr);
        kernels::RmsNorm(ctx, from + s.q_width, s.e, w.k_norm.data(), config.rms_epsilon, s.kv_heads, s.e,
                         to + s.q_width, s.e, nullptr);
      }
    });
  }
  kernels::Rope(ctx, target, s.qkv_width, batch.rows, s.heads + s.kv_heads, config.head_dim, batch.positions,
                weights.rope.cos(), weights.rope.sin(), /*inverse=*/false);
}

void CopyRows(const KernelContext& ctx, const float* from, int64_t count, float* to) {
  ctx.pool().ParallelFor(count, 1 << 16, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, (end - begin) * sizeof(float));
  });
}

// out[rows[i]] = x[i], and zero elsewhere in [0, count).
void ScatterRows(const float* x, std::span<const int64_t> rows, int64_t width, int64_t count, float* out) {
  size_t next = 0;
  for (int64_t t = 0; t < count; ++t) {
    if (next < rows.size() && rows[next] == t) {
      std::memcpy(out + t * width, x + next * width, width * sizeof(float));
      ++next;
    } else {
      std::fill_n(out + t * width, width, 0.0f);
    }
  }
}

// Weight and (where the model has it) bias gradient of one projection: y [rows, n] = x [rows, k] w^T + b.
void ProjectionGradients(const ComputeWeights::Impl& weights, const float* dy, int64_t ld_dy, const float* x,
                         std::span<const RowRange> sums, int64_t n, int64_t k, float* dw, float* db) {
  for (const RowRange& rows : sums) {
    const float* dy_rows = dy + rows.begin * ld_dy;
    kernels::GemmWeightGradient(weights.ctx, dy_rows, ld_dy, x + rows.begin * k, k, rows.count, n, k, weights.dtype,
                                dw);
    if (db != nullptr) kernels::BiasGradient(weights.ctx, dy_rows, ld_dy, rows.count, n, db);
  }
}

// The MLP half: dx [rows, D] holds d y and receives d middle; `sums` are ranges of those rows.
void MlpBackward(const ComputeWeights::Impl& weights, int layer, int64_t rows, std::span<const RowRange> sums,
                 const LayerActivations& a, const LayerScratch& scratch, const LayerGradients& gradients, float* dx) {
  const KernelContext& ctx = weights.ctx;
  const LayerWeights& w = weights.layers[layer];
  const Shape s(weights.config);
  kernels::SwiGlu(ctx, a.gate_up, rows, s.f, scratch.swiglu);
  ProjectionGradients(weights, dx, s.d, scratch.swiglu, sums, s.d, s.f, gradients.down, gradients.down_bias);
  kernels::Gemm(ctx, dx, s.d, rows, w.down_transposed, nullptr, false, scratch.d_swiglu, s.f);
  kernels::SwiGluBackward(ctx, a.gate_up, scratch.d_swiglu, rows, s.f, scratch.d_gate_up);
  kernels::RmsNorm(ctx, a.middle, s.d, w.post_attention_norm.data(), weights.config.rms_epsilon, rows, s.d,
                   scratch.normed, s.d, scratch.inverse_rms);
  ProjectionGradients(weights, scratch.d_gate_up, 2 * s.f, scratch.normed, sums, s.f, s.d, gradients.gate,
                      gradients.gate_bias);
  ProjectionGradients(weights, scratch.d_gate_up + s.f, 2 * s.f, scratch.normed, sums, s.f, s.d, gradients.up,
                      gradients.up_bias);
  kernels::Gemm(ctx, scratch.d_gate_up, 2 * s.f, rows, w.gate_up_transposed, nullptr, false, scratch.d_normed, s.d);
  NormBackward(ctx, sums, a.middle, s.d, w.post_attention_norm.data(), scratch.inverse_rms, scratch.d_normed, s.d, s.d,
               /*accumulate_dx=*/true, dx, s.d, gradients.post_attention_norm);
}

// From d rotated q and k (in d_rotated) to d qkv: through the rotation and, with QK-norm, the norm.
void RotateAndNormBackward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch, const float* qkv,
                           const LayerScratch& scratch, const LayerGradients& gradients, float* d_rotated) {
  const KernelContext& ctx = weights.ctx;
  const ModelConfig& config = weights.config;
  const Shape s(config);
  kernels::Rope(ctx, d_rotated, s.qkv_width, batch.rows, s.heads + s.kv_heads, config.head_dim, batch.positions,
                weights.rope.cos(), weights.rope.sin(), /*inverse=*/true);
  if (!config.qk_norm) return;
  const LayerWeights& w = weights.layers[layer];
  // Ranges outside, heads inside: the heads share dw, and a range's sum must not know the other ranges.
  for (const RowRange& rows : batch.sums) {
    for (int head = 0; head < s.heads + s.kv_heads; ++head) {
      const bool is_q = head < s.heads;
      const float* norm = is_q ? w.q_norm.data() : w.k_norm.data();
      const int64_t at = rows.begin * s.qkv_width + head * s.e;
      kernels::RmsNorm(ctx, qkv + at, s.qkv_width, norm, config.rms_epsilon, rows.count, s.e, scratch.rotated, s.e,
                       scratch.inverse_rms);
      kernels::RmsNormBackward(ctx, qkv + at, s.qkv_width, norm, scratch.inverse_rms, d_rotated + at, s.qkv_width,
                               rows.count, s.e, /*accumulate_dx=*/false, scratch.d_qkv + at, s.qkv_width,
                               is_q ? gradients.q_norm : gradients.k_norm);
    }
  }
}

// The attention half up to and without the input norm: d_attention [T, H E] -> d_qkv, and the gradients of q, k, v.
void AttentionHalfBackward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                           const LayerActivations& a, const LayerScratch& scratch, const LayerGradients& gradients) {
  const KernelContext& ctx = weights.ctx;
  const ModelConfig& config = weights.config;
  const Shape s(config);
  const float* rotated = a.qkv;
  float* d_rotated = scratch.d_qkv;
  if (config.qk_norm) {
    NormAndRotate(weights, layer, batch, a.qkv, scratch.rotated);
    rotated = scratch.rotated;
    d_rotated = scratch.d_rotated;
  }
  kernels::AttentionBackward(ctx, weights.dtype, s.heads, s.kv_heads, config.head_dim, AttentionScale(config), rotated,
                             s.qkv_width, rotated + s.q_width, a.qkv + s.q_width + s.kv_width, s.qkv_width, a.attention,
                             a.log_sum_exp, scratch.d_attention, batch.segments, d_rotated, d_rotated + s.q_width,
                             scratch.d_qkv + s.q_width + s.kv_width, a.key_bias);
  RotateAndNormBackward(weights, layer, batch, a.qkv, scratch, gradients, d_rotated);
}

// From x to `middle`. False: nothing was picked, and no row goes on.
bool AttentionHalf(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                   std::span<const int64_t> picked, std::byte* kv, const LayerActivations& a) {
  const KernelContext& ctx = weights.ctx;
  const ModelConfig& config = weights.config;
  const LayerWeights& w = weights.layers[layer];
  const Shape s(config);
  const int64_t rows = batch.rows;

  kernels::RmsNorm(ctx, a.x, s.d, w.input_norm.data(), config.rms_epsilon, rows, s.d, a.normed, s.d, nullptr);
  kernels::Gemm(ctx, a.normed, s.d, rows, w.qkv, w.qkv_bias_or_null(), false, a.qkv, s.qkv_width);
  NormAndRotate(weights, layer, batch, a.qkv, a.rotated);
  const float* q = config.qk_norm ? a.rotated : a.qkv;
  kernels::KvWrite(ctx, batch.kv_layout, q + s.q_width, a.qkv + s.q_width + s.kv_width, s.qkv_width, batch.kv_writes,
                   kv);
  const bool picks = picked.data() != nullptr;
  if (picks && picked.empty()) return false;  // a prompt's earlier chunks only fill the cache
  kernels::Attention(ctx, batch.kv_layout, s.heads, AttentionScale(config), q, s.qkv_width, batch.sequences, kv,
                     a.attention, a.log_sum_exp, a.key_bias);

  const int64_t out_rows = picks ? static_cast<int64_t>(picked.size()) : rows;
  const float* attention = a.attention;
  if (picks) {
    GatherRows(a.attention, picked, s.q_width, a.attention_out);
    GatherRows(a.x, picked, s.d, a.middle);
    attention = a.attention_out;
  } else if (a.middle != a.x) {
    CopyRows(ctx, a.x, rows * s.d, a.middle);
  }
  kernels::Gemm(ctx, attention, s.q_width, out_rows, w.o, w.o_bias_or_null(), true, a.middle, s.d);
  return true;
}

}  // namespace

void GatherRows(const float* x, std::span<const int64_t> rows, int64_t width, float* out) {
  for (size_t i = 0; i < rows.size(); ++i) std::memcpy(out + i * width, x + rows[i] * width, width * sizeof(float));
}

void NormBackward(const KernelContext& ctx, std::span<const RowRange> sums, const float* x, int64_t ldx, const float* w,
                  const float* inverse_rms, const float* dy, int64_t lddy, int64_t d, bool accumulate_dx, float* dx,
                  int64_t lddx, float* dw) {
  for (const RowRange& rows : sums) {
    const int64_t r = rows.begin;
    kernels::RmsNormBackward(ctx, x + r * ldx, ldx, w, inverse_rms + r, dy + r * lddy, lddy, rows.count, d,
                             accumulate_dx, dx + r * lddx, lddx, dw);
  }
}

void ForwardGateUp(const ComputeWeights::Impl& weights, int layer, int64_t rows, const LayerActivations& a) {
  const LayerWeights& w = weights.layers[layer];
  const Shape s(weights.config);
  kernels::RmsNorm(weights.ctx, a.middle, s.d, w.post_attention_norm.data(), weights.config.rms_epsilon, rows, s.d,
                   a.normed, s.d, nullptr);
  kernels::Gemm(weights.ctx, a.normed, s.d, rows, w.gate_up, w.gate_up_bias_or_null(), false, a.gate_up, 2 * s.f);
}

void ForwardUpToGateUp(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                       std::span<const int64_t> picked, std::byte* kv, const LayerActivations& a) {
  if (!AttentionHalf(weights, layer, batch, picked, kv, a)) return;
  ForwardGateUp(weights, layer, picked.data() != nullptr ? std::ssize(picked) : batch.rows, a);
}

void LayerForward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                  std::span<const int64_t> picked, std::byte* kv, const LayerActivations& a) {
  const KernelContext& ctx = weights.ctx;
  const LayerWeights& w = weights.layers[layer];
  const Shape s(weights.config);
  if (!AttentionHalf(weights, layer, batch, picked, kv, a)) return;
  const int64_t out_rows = picked.data() != nullptr ? std::ssize(picked) : batch.rows;
  ForwardGateUp(weights, layer, out_rows, a);
  kernels::SwiGlu(ctx, a.gate_up, out_rows, s.f, a.swiglu);
  if (a.y != a.middle) CopyRows(ctx, a.middle, out_rows * s.d, a.y);
  kernels::Gemm(ctx, a.swiglu, s.f, out_rows, w.down, w.down_bias_or_null(), true, a.y, s.d);
}

LayerGradients::LayerGradients(const ParameterLayout& layout, int layer, float* gradients) {
  const auto find = [&](const char* name) -> float* {
    const ParameterInfo* entry = layout.Find(absl::StrCat("model.layers.", layer, ".", name));
    return entry == nullptr ? nullptr : gradients + entry->offset;
  };
  input_norm = find("input_layernorm.weight");
  post_attention_norm = find("post_attention_layernorm.weight");
  q_norm = find("self_attn.q_norm.weight");
  k_norm = find("self_attn.k_norm.weight");
  q = find("self_attn.q_proj.weight");
  k = find("self_attn.k_proj.weight");
  v = find("self_attn.v_proj.weight");
  o = find("self_attn.o_proj.weight");
  gate = find("mlp.gate_proj.weight");
  up = find("mlp.up_proj.weight");
  down = find("mlp.down_proj.weight");
  q_bias = find("self_attn.q_proj.bias");
  k_bias = find("self_attn.k_proj.bias");
  v_bias = find("self_attn.v_proj.bias");
  o_bias = find("self_attn.o_proj.bias");
  gate_bias = find("mlp.gate_proj.bias");
  up_bias = find("mlp.up_proj.bias");
  down_bias = find("mlp.down_proj.bias");
}

void LayerBackward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                   std::span<const int64_t> picked, const LayerActivations& a, const LayerScratch& scratch,
                   const LayerGradients& gradients, float* dx) {
  const KernelContext& ctx = weights.ctx;
  const LayerWeights& w = weights.layers[layer];
  const Shape s(weights.config);
  const int64_t rows = batch.rows;
  const bool picks = picked.data() != nullptr;
  const int64_t out_rows = picks ? static_cast<int64_t>(picked.size()) : rows;
  const std::span<const RowRange> out_sums = picks ? batch.out_sums : batch.sums;

  MlpBackward(weights, layer, out_rows, out_sums, a, scratch, gradients, dx);
  const float* attention = a.attention;
  if (picks) {
    GatherRows(a.attention, picked, s.q_width, scratch.attention_out);
    attention = scratch.attention_out;
  }
  ProjectionGradients(weights, dx, s.d, attention, out_sums, s.d, s.q_width, gradients.o, gradients.o_bias);
  if (picks) {
    kernels::Gemm(ctx, dx, s.d, out_rows, w.o_transposed, nullptr, false, scratch.d_picked, s.q_width);
    ScatterRows(scratch.d_picked, picked, s.q_width, rows, scratch.d_attention);
    CopyRows(ctx, dx, out_rows * s.d, scratch.d_picked);
    ScatterRows(scratch.d_picked, picked, s.d, rows, dx);
  } else {
    kernels::Gemm(ctx, dx, s.d, rows, w.o_transposed, nullptr, false, scratch.d_attention, s.q_width);
  }
  AttentionHalfBackward(weights, layer, batch, a, scratch, gradients);

  kernels::RmsNorm(ctx, a.x, s.d, w.input_norm.data(), weights.config.rms_epsilon, rows, s.d, scratch.normed, s.d,
                   scratch.inverse_rms);
  const float* dq = scratch.d_qkv;
  const float* dk = dq + s.q_width;
  const float* dv = dk + s.kv_width;
  ProjectionGradients(weights, dq, s.qkv_width, scratch.normed, batch.sums, s.q_width, s.d, gradients.q,
                      gradients.q_bias);
  ProjectionGradients(weights, dk, s.qkv_width, scratch.normed, batch.sums, s.kv_width, s.d, gradients.k,
                      gradients.k_bias);
  ProjectionGradients(weights, dv, s.qkv_width, scratch.normed, batch.sums, s.kv_width, s.d, gradients.v,
                      gradients.v_bias);
  kernels::Gemm(ctx, scratch.d_qkv, s.qkv_width, rows, w.qkv_transposed, nullptr, false, scratch.d_normed, s.d);
  NormBackward(ctx, batch.sums, a.x, s.d, w.input_norm.data(), scratch.inverse_rms, scratch.d_normed, s.d, s.d,
               /*accumulate_dx=*/true, dx, s.d, gradients.input_norm);
}

}  // namespace hone::model
