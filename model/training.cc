// Packed forward and backward pass of the learner.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "model/compute_weights.h"
#include "model/layer.h"
#include "model/memory_plan.h"
#include "model/packed_batch.h"

namespace hone::model {

using kernels::AlignedBuffer;

namespace {

// One layer's activations between its input and output.
struct LayerBuffers {
  AlignedBuffer<float> x;            // [T, D] input
  AlignedBuffer<float> qkv;          // [T, Q]
  AlignedBuffer<float> attention;    // [T, H E]
  AlignedBuffer<float> log_sum_exp;  // [T, H]
  AlignedBuffer<float> middle;       // [M, D]
  AlignedBuffer<float> gate_up;      // [M, 2F]
};

}  // namespace

int64_t LogitRows(int64_t vocab) {
  // 64 MiB: less than a large model's vocabulary times its batch, enough rows that the pass over the LM head's gradient
  // is cheap beside the products.
  constexpr int64_t kLogitEntries = int64_t{16} << 20;
  constexpr int64_t kMinLogitRows = 128;
  return std::max(kMinLogitRows, kLogitEntries / vocab / 128 * 128);
}

struct TrainingModel::Impl {
  Impl(const kernels::KernelContext& context, const ComputeWeights& compute_weights, Recompute again)
      : ctx(context), weights(compute_weights.impl()), recompute(again) {
    const ModelConfig& config = weights.config;
    d = config.hidden_size;
    f = config.ffn_size;
    q_width = int64_t{config.heads} * config.head_dim;
    qkv_width = q_width + 2 * int64_t{config.kv_heads} * config.head_dim;
    kv_layout.page_tokens = kernels::kBlockTokens;
    kv_layout.kv_heads = config.kv_heads;
    kv_layout.head_dim = config.head_dim;
    kv_layout.dtype = weights.dtype;
  }

  const kernels::KernelContext& ctx;
  const ComputeWeights::Impl& weights;
  const Recompute recompute;
  int64_t d, f, q_width, qkv_width;
  kernels::KvLayout kv_layout;
  AlignedBuffer<std::byte> kv;  // one layer's pages, written and read again by each layer

  // Of the last Forward with keep = true.
  PackedBatch kept_batch;
  float kept_temperature = 1.0f;
  std::vector<LayerBuffers> kept;
  AlignedBuffer<float> kept_final;                    // [M, D] the last layer's output
  AlignedBuffer<float> kept_hidden;                   // [M, D] after the last norm
  AlignedBuffer<float> log_normalizer, kept_entropy;  // [M]
  bool kept_logits = false;                           // `logits` still holds all of them
  bool has_kept = false;
  // [V, D] of tied embeddings where sums are apart: gradients as inputs, until FinishGradients.
  AlignedBuffer<float> embedding_gradient;
  bool has_embedding_gradient = false;

  // Scratch of both passes; what a pass leaves in it is not used by the next.
  PackedBatch plain_batch;
  LayerBuffers plain;  // of what is not kept: one layer's, used again by each
  AlignedBuffer<float> key_bias;
  AlignedBuffer<float> plain_out, plain_hidden;
  AlignedBuffer<float> normed, rotated, attention_out, swiglu, logits;
  AlignedBuffer<float> dx, d_hidden, d_normed, inverse_rms, d_rotated, d_qkv, d_attention, d_picked, d_swiglu,
      d_gate_up;

  void ReservePages(const PackedBatch& batch);
  void ReserveLayers(const PackedBatch& batch, bool keep);
  // Of layer l: what is kept in its own buffers, the rest in those that all layers use.
  LayerActivations Activations(const PackedBatch& batch, int layer, bool keep, float* y);
  void ForwardLayers(const PackedBatch& batch, bool keep, AlignedBuffer<float>* out);
  void Predict(const PackedBatch& batch, float temperature, bool keep, const float* hidden, float* logprobs,
               float* entropies);
  void BackwardHead(std::span<const float> d_logprob, std::span<const float> d_entropy, float* gradients);
  float* EmbeddingGradientApart();
  void ReserveBackward();
  float* GradientOf(std::string_view name, float* gradients) const {
    return gradients + weights.layout.Find(name)->offset;
  }
};

void TrainingModel::Impl::ReservePages(const PackedBatch& batch) {
  const size_t kv_bytes = static_cast<size_t>(batch.page_count) * kv_layout.page_bytes();
  if (kv.size() < kv_bytes) {
    kv.Resize(kv_bytes);
    std::memset(kv.data(), 0, kv_bytes);
  }
}

void TrainingModel::Impl::ReserveLayers(const PackedBatch& batch, bool keep) {
  const int layers = weights.config.layers;
  const int64_t rows = batch.rows();
  if (keep) kept.resize(layers);
  if (!keep) plain.x.Resize(rows * d);
  for (int l = 0; l < layers; ++l) {
    const int64_t out_rows = l + 1 == layers ? batch.out_rows() : rows;
    if (keep) kept[l].x.Resize(rows * d);
    LayerBuffers& upper = keep && recompute != Recompute::kLayer ? kept[l] : plain;
    upper.qkv.Resize(rows * qkv_width);
    upper.attention.Resize(rows * q_width);
    upper.log_sum_exp.Resize(rows * weights.config.heads);
    upper.middle.Resize(out_rows * d);
    LayerBuffers& lower = keep && recompute == Recompute::kNone ? kept[l] : plain;
    lower.gate_up.Resize(out_rows * 2 * f);
  }
}

LayerActivations TrainingModel::Impl::Activations(const PackedBatch& batch, int layer, bool keep, float* y) {
  LayerBuffers& upper = keep && recompute != Recompute::kLayer ? kept[layer] : plain;
  LayerBuffers& lower = keep && recompute == Recompute::kNone ? kept[layer] : plain;
  LayerActivations a;
  a.x = keep ? kept[layer].x.data() : plain.x.data();
  a.normed = normed.data();
  a.qkv = upper.qkv.data();
  a.rotated = rotated.data();
  a.attention = upper.attention.data();
  a.log_sum_exp = upper.log_sum_exp.data();
  a.attention_out = attention_out.data();
  a.middle = upper.middle.data();
  a.gate_up = lower.gate_up.data();
  a.swiglu = swiglu.data();
  a.y = y;
  if (batch.masked_keys.empty()) return a;
  key_bias.Resize(batch.rows());
  const uint8_t* masked = batch.masked_keys.data() + layer * batch.rows();
  for (int64_t t = 0; t < batch.rows(); ++t) key_bias[t] = masked[t] != 0 ? -std::numeric_limits<float>::infinity() : 0;
  a.key_bias = key_bias.data();
  return a;
}

void TrainingModel::Impl::ForwardLayers(const PackedBatch& batch, bool keep, AlignedBuffer<float>* out) {
  const int layers = weights.config.layers;
  const int64_t rows = batch.rows(), out_rows = batch.out_rows();
  normed.Resize(rows * d);
  if (weights.config.qk_norm) rotated.Resize(rows * qkv_width);
  attention_out.Resize(out_rows * q_width);
  swiglu.Resize(rows * f);
  out->Resize(out_rows * d);
  ReservePages(batch);
  ReserveLayers(batch, keep);
  float* x = keep ? kept[0].x.data() : plain.x.data();
  kernels::EmbeddingGather(ctx, weights.embedding, batch.tokens.data(), rows, x);
  const LayerBatch view = batch.View(kv_layout);
  for (int l = 0; l < layers; ++l) {
    const bool last = l + 1 == layers;
    float* y = last ? out->data() : keep ? kept[l + 1].x.data() : plain.x.data();
    LayerForward(weights, l, view, last ? std::span<const int64_t>(batch.picked) : std::span<const int64_t>(),
                 kv.data(), Activations(batch, l, keep, y));
  }
}

void TrainingModel::Impl::Predict(const PackedBatch& batch, float temperature, bool keep, const float* hidden,
                                  float* logprobs, float* entropies) {
  const int64_t vocab = weights.config.vocab_size, rows = batch.out_rows(), chunk = LogitRows(vocab);
  logits.Resize(std::min(rows, chunk) * vocab);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    kernels::Gemm(ctx, hidden + begin * d, d, count, weights.lm_head(), nullptr, false, logits.data(), vocab);
    kernels::LogProb(ctx, logits.data(), vocab, count, vocab, temperature, batch.targets.data() + begin,
                     logprobs + begin, entropies + begin, keep ? log_normalizer.data() + begin : nullptr);
  }
  kept_logits = keep && rows <= chunk;
}

void TrainingModel::Impl::BackwardHead(std::span<const float> d_logprob, std::span<const float> d_entropy,
                                       float* gradients) {
  const int64_t vocab = weights.config.vocab_size, rows = kept_batch.out_rows(), chunk = LogitRows(vocab);
  float* dw = GradientOf(weights.config.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight", gradients);
  d_hidden.Resize(rows * d);
  logits.Resize(std::min(rows, chunk) * vocab);
  for (const RowRange& sum : kept_batch.out_sums) {
    for (int64_t begin = sum.begin; begin < sum.begin + sum.count; begin += chunk) {
      const int64_t count = std::min(chunk, sum.begin + sum.count - begin);
      const float* hidden = kept_hidden.data() + begin * d;
      float* chunk_logits = kept_logits ? logits.data() + begin * vocab : logits.data();
      if (!kept_logits) kernels::Gemm(ctx, hidden, d, count, weights.lm_head(), nullptr, false, chunk_logits, vocab);
      kernels::LogProbBackward(ctx, chunk_logits, vocab, count, vocab, kept_temperature,
                               kept_batch.targets.data() + begin, log_normalizer.data() + begin,
                               kept_entropy.data() + begin, d_logprob.data() + begin,
                               d_entropy.empty() ? nullptr : d_entropy.data() + begin);
      kernels::Gemm(ctx, chunk_logits, vocab, count, weights.lm_head_transposed, nullptr, false,
                    d_hidden.data() + begin * d, d);
      kernels::GemmWeightGradient(ctx, chunk_logits, vocab, hidden, d, count, vocab, d, weights.dtype, dw);
    }
  }
  kept_logits = false;  // now gradients
  dx.Resize(kept_batch.rows() * d);
  inverse_rms.Resize(kept_batch.rows());
  // The norm's own inverse RMS again; its output goes to scratch, for it is kept already.
  kernels::RmsNorm(ctx, kept_final.data(), d, weights.final_norm.data(), weights.config.rms_epsilon, rows, d, dx.data(),
                   d, inverse_rms.data());
  NormBackward(ctx, kept_batch.out_sums, kept_final.data(), d, weights.final_norm.data(), inverse_rms.data(),
               d_hidden.data(), d, d, /*accumulate_dx=*/false, dx.data(), d,
               GradientOf("model.norm.weight", gradients));
}

// The gradients of the inputs' embeddings so far; zero where there are none yet.
float* TrainingModel::Impl::EmbeddingGradientApart() {
  if (!has_embedding_gradient) {
    embedding_gradient.Resize(weights.config.vocab_size * d);
    std::fill_n(embedding_gradient.data(), embedding_gradient.size(), 0.0f);
    has_embedding_gradient = true;
  }
  return embedding_gradient.data();
}

void TrainingModel::Impl::ReserveBackward() {
  const int64_t rows = kept_batch.rows(), out_rows = kept_batch.out_rows();
  normed.Resize(rows * d);
  d_normed.Resize(rows * d);
  swiglu.Resize(rows * f);
  d_swiglu.Resize(rows * f);
  d_gate_up.Resize(rows * 2 * f);
  d_qkv.Resize(rows * qkv_width);
  d_attention.Resize(rows * q_width);
  attention_out.Resize(out_rows * q_width);
  d_picked.Resize(out_rows * std::max(d, q_width));
  if (weights.config.qk_norm) {
    rotated.Resize(rows * qkv_width);
    d_rotated.Resize(rows * qkv_width);
  }
}

TrainingModel::TrainingModel(const kernels::KernelContext& ctx, const ComputeWeights& weights, Recompute recompute)
    : impl_(std::make_unique<Impl>(ctx, weights, recompute)) {}
TrainingModel::~TrainingModel() = default;

void TrainingModel::Forward(const PackedSequences& packed, float temperature, bool keep, std::vector<float>* logprobs,
                            std::vector<float>* entropies) {
  Impl& m = *impl_;
  HONE_CHECK(m.weights.complete()) << "some weights have not been loaded";
  PackedBatch& batch = keep ? m.kept_batch : m.plain_batch;
  batch.Set(packed, m.weights.config, m.kv_layout.page_tokens);
  const int64_t out_rows = batch.out_rows();
  logprobs->resize(out_rows);
  entropies->resize(out_rows);
  if (keep) {
    m.kept_temperature = temperature;
    m.has_kept = true;
    m.log_normalizer.Resize(out_rows);
    m.kept_entropy.Resize(out_rows);
  } else {
    m.kept_logits = false;
  }
  if (out_rows == 0) return;  // nothing is predicted, so nothing has a gradient
  AlignedBuffer<float>& out = keep ? m.kept_final : m.plain_out;
  AlignedBuffer<float>& hidden = keep ? m.kept_hidden : m.plain_hidden;
  m.ForwardLayers(batch, keep, &out);
  hidden.Resize(out_rows * m.d);
  kernels::RmsNorm(m.ctx, out.data(), m.d, m.weights.final_norm.data(), m.weights.config.rms_epsilon, out_rows, m.d,
                   hidden.data(), m.d, nullptr);
  m.Predict(batch, temperature, keep, hidden.data(), logprobs->data(), entropies->data());
  if (keep) std::copy(entropies->begin(), entropies->end(), m.kept_entropy.data());
}

void TrainingModel::Backward(std::span<const float> d_logprob, std::span<const float> d_entropy,
                             FlatTensor* gradients) {
  Impl& m = *impl_;
  HONE_CHECK(m.weights.for_training) << "these weights have no transposed copies";
  HONE_CHECK(m.has_kept) << "no Forward with keep = true came before";
  HONE_CHECK_EQ(static_cast<int64_t>(d_logprob.size()), m.kept_batch.out_rows());
  HONE_CHECK(d_entropy.empty() || d_entropy.size() == d_logprob.size());
  HONE_CHECK_EQ(static_cast<int64_t>(gradients->size()), m.weights.layout.total_size());
  m.has_kept = false;  // a second Backward would need what this one overwrites
  if (m.kept_batch.out_rows() == 0) return;
  m.BackwardHead(d_logprob, d_entropy, gradients->data());
  m.ReserveBackward();
  LayerScratch scratch;
  scratch.normed = m.normed.data();
  scratch.d_normed = m.d_normed.data();
  scratch.inverse_rms = m.inverse_rms.data();
  scratch.rotated = m.rotated.data();
  scratch.d_rotated = m.d_rotated.data();
  scratch.d_qkv = m.d_qkv.data();
  scratch.attention_out = m.attention_out.data();
  scratch.d_attention = m.d_attention.data();
  scratch.d_picked = m.d_picked.data();
  scratch.swiglu = m.swiglu.data();
  scratch.d_swiglu = m.d_swiglu.data();
  scratch.d_gate_up = m.d_gate_up.data();
  const LayerBatch view = m.kept_batch.View(m.kv_layout);
  const int layers = m.weights.config.layers;
  for (int l = layers - 1; l >= 0; --l) {
    const std::span<const int64_t> picked =
        l + 1 == layers ? std::span<const int64_t>(m.kept_batch.picked) : std::span<const int64_t>();
    const LayerActivations activations = m.Activations(m.kept_batch, l, /*keep=*/true, nullptr);
    if (m.recompute == Recompute::kLayer) {
      ForwardUpToGateUp(m.weights, l, view, picked, m.kv.data(), activations);
    } else if (m.recompute == Recompute::kMlp) {
      ForwardGateUp(m.weights, l, picked.data() != nullptr ? m.kept_batch.out_rows() : m.kept_batch.rows(),
                    activations);
    }
    const LayerGradients layer_gradients(m.weights.layout, l, gradients->data());
    LayerBackward(m.weights, l, view, picked, activations, scratch, layer_gradients, m.dx.data());
  }
  float* d_embedding = m.GradientOf("model.embed_tokens.weight", gradients->data());
  if (m.kept_batch.sums_apart && m.weights.config.tied_embeddings) d_embedding = m.EmbeddingGradientApart();
  kernels::EmbeddingGradient(m.ctx, m.dx.data(), m.kept_batch.tokens.data(), m.kept_batch.rows(), m.d, d_embedding);
}

void TrainingModel::FinishGradients(FlatTensor* gradients) {
  Impl& m = *impl_;
  HONE_CHECK_EQ(static_cast<int64_t>(gradients->size()), m.weights.layout.total_size());
  if (!m.has_embedding_gradient) return;
  kernels::AddInPlace(m.ctx, m.embedding_gradient.data(), std::ssize(m.embedding_gradient.span()),
                      m.GradientOf("model.embed_tokens.weight", gradients->data()));
  m.has_embedding_gradient = false;
}

void TrainingModel::DropGradients() { impl_->has_embedding_gradient = false; }

size_t TrainingModel::ActivationBytesPerToken() const {
  return static_cast<size_t>(model::ActivationBytesPerToken(impl_->weights.config, impl_->recompute));
}

size_t TrainingModel::size_bytes() const {
  const Impl& m = *impl_;
  size_t floats = 0;
  const auto add_layer = [&](const LayerBuffers& layer) {
    for (const auto* buffer :
         {&layer.x, &layer.qkv, &layer.attention, &layer.log_sum_exp, &layer.middle, &layer.gate_up}) {
      floats += buffer->capacity();
    }
  };
  for (const LayerBuffers& layer : m.kept) add_layer(layer);
  add_layer(m.plain);
  for (const auto* buffer : {&m.kept_final,   &m.kept_hidden, &m.log_normalizer,    &m.kept_entropy,  &m.plain_out,
                             &m.plain_hidden, &m.normed,      &m.rotated,           &m.attention_out, &m.swiglu,
                             &m.logits,       &m.dx,          &m.d_hidden,          &m.d_normed,      &m.inverse_rms,
                             &m.d_rotated,    &m.d_qkv,       &m.d_attention,       &m.d_picked,      &m.d_swiglu,
                             &m.d_gate_up,    &m.key_bias,    &m.embedding_gradient}) {
    floats += buffer->capacity();
  }
  return floats * sizeof(float) + m.kv.capacity();
}

}  // namespace hone::model
