// Packed forward and backward pass of the learner.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "model/compute_weights.h"
#include "model/layer.h"
#include "model/memory_plan.h"

namespace hone::model {

using kernels::AlignedBuffer;

namespace {

// One layer's kept activations.
struct KeptLayer {
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
  Impl(const kernels::KernelContext& context, const ComputeWeights& compute_weights)
      : ctx(context), weights(compute_weights.impl()) {
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

  // What a batch is, as the layers see it.
  struct Batch {
    std::vector<int32_t> tokens, positions, targets;  // targets of the picked rows
    std::vector<int64_t> picked;                      // rows with a target
    std::vector<int32_t> pages;                       // lists of the sequences' pages, one after another
    std::vector<kernels::AttentionSequence> sequences, kv_writes;
    std::vector<kernels::PackedSegment> segments;
    int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
    int64_t out_rows() const { return static_cast<int64_t>(picked.size()); }
  };

  const kernels::KernelContext& ctx;
  const ComputeWeights::Impl& weights;
  int64_t d, f, q_width, qkv_width;
  kernels::KvLayout kv_layout;
  AlignedBuffer<std::byte> kv;  // one layer's pages, written and read again by each layer

  // Of the last Forward with keep = true.
  Batch kept_batch;
  float kept_temperature = 1.0f;
  std::vector<KeptLayer> kept;
  AlignedBuffer<float> kept_final;                    // [M, D] the last layer's output
  AlignedBuffer<float> kept_hidden;                   // [M, D] after the last norm
  AlignedBuffer<float> log_normalizer, kept_entropy;  // [M]
  bool kept_logits = false;                           // `logits` still holds all of them
  bool has_kept = false;

  // Scratch of both passes; what a pass leaves in it is not used by the next.
  Batch plain_batch;
  KeptLayer plain;  // the one layer of a pass that keeps nothing
  AlignedBuffer<float> plain_out, plain_hidden;
  AlignedBuffer<float> normed, rotated, attention_out, swiglu, logits;
  AlignedBuffer<float> dx, d_hidden, d_normed, inverse_rms, d_rotated, d_qkv, d_attention, d_picked, d_swiglu,
      d_gate_up;

  void SetBatch(const PackedSequences& packed, Batch* batch);
  void SetPages(Batch* batch);
  void ReserveLayer(const Batch& batch, bool last, KeptLayer* layer);
  LayerActivations Activations(KeptLayer* layer, float* y);
  LayerBatch ViewOf(const Batch& batch) {
    return {batch.rows(), batch.positions.data(), batch.sequences, batch.kv_writes, kv_layout, batch.segments};
  }
  void ForwardLayers(const Batch& batch, bool keep, AlignedBuffer<float>* out);
  void Predict(const Batch& batch, float temperature, bool keep, const float* hidden, float* logprobs,
               float* entropies);
  void BackwardHead(std::span<const float> d_logprob, std::span<const float> d_entropy, float* gradients);
  void ReserveBackward();
  float* GradientOf(std::string_view name, float* gradients) const {
    return gradients + weights.layout.Find(name)->offset;
  }
};

void TrainingModel::Impl::SetBatch(const PackedSequences& packed, Batch* batch) {
  const int64_t rows = static_cast<int64_t>(packed.tokens.size());
  HONE_CHECK(!packed.starts.empty() && packed.starts.front() == 0 && packed.starts.back() == rows);
  HONE_CHECK_EQ(packed.targets.size(), packed.tokens.size());
  batch->tokens = packed.tokens;
  batch->positions.resize(rows);
  batch->picked.clear();
  batch->targets.clear();
  for (int64_t t = 0; t < rows; ++t) {
    HONE_CHECK(packed.tokens[t] >= 0 && packed.tokens[t] < weights.config.vocab_size) << packed.tokens[t];
    if (packed.targets[t] < 0) continue;
    HONE_CHECK(packed.targets[t] < weights.config.vocab_size) << packed.targets[t];
    batch->picked.push_back(t);
    batch->targets.push_back(packed.targets[t]);
  }
  batch->segments.clear();
  const size_t segments = packed.starts.size() - 1;
  HONE_CHECK(packed.prefixes.empty() || packed.prefixes.size() == segments);
  for (size_t s = 0; s < segments; ++s) {
    const int64_t row = packed.starts[s], count = packed.starts[s + 1] - row;
    const int32_t prefix = packed.prefixes.empty() ? -1 : packed.prefixes[s];
    HONE_CHECK(prefix < static_cast<int64_t>(s) && (prefix < 0 || batch->segments[prefix].prefix < 0)) << prefix;
    const int64_t position = prefix < 0 ? 0 : batch->segments[prefix].count;
    HONE_CHECK(count >= 0 && position + count <= weights.config.max_positions)
        << "a sequence of " << position + count << " tokens; the context has " << weights.config.max_positions;
    for (int64_t i = 0; i < count; ++i) batch->positions[row + i] = static_cast<int32_t>(position + i);
    batch->segments.push_back({row, count, prefix});
  }
  SetPages(batch);
}

// A follower's list of pages begins with the full pages of its prefix; the prefix's tokens in a page that is not full
// are written to the follower's first page too.
void TrainingModel::Impl::SetPages(Batch* batch) {
  const int64_t page_tokens = kv_layout.page_tokens;
  const auto position_of = [&](const kernels::PackedSegment& segment) {
    return segment.prefix < 0 ? 0 : batch->segments[segment.prefix].count;
  };
  std::vector<size_t> lists;  // where each segment's list begins
  int32_t next_page = 0;
  batch->pages.clear();
  for (const kernels::PackedSegment& segment : batch->segments) {
    lists.push_back(batch->pages.size());
    const int64_t position = position_of(segment), shared = position / page_tokens;
    for (int64_t p = 0; p < shared; ++p) batch->pages.push_back(batch->pages[lists[segment.prefix] + p]);
    const int64_t own = (position + segment.count + page_tokens - 1) / page_tokens - shared;
    for (int64_t p = 0; p < own; ++p) batch->pages.push_back(next_page++);
  }
  batch->sequences.clear();
  batch->kv_writes.clear();
  for (size_t s = 0; s < batch->segments.size(); ++s) {
    const kernels::PackedSegment& segment = batch->segments[s];
    if (segment.count == 0) continue;
    const int64_t position = position_of(segment), tail = position % page_tokens;
    const int32_t* pages = batch->pages.data() + lists[s];
    batch->sequences.push_back(
        {segment.row, static_cast<int32_t>(segment.count), static_cast<int32_t>(position), pages});
    batch->kv_writes.push_back(batch->sequences.back());
    if (tail == 0) continue;
    batch->kv_writes.push_back({batch->segments[segment.prefix].row + position - tail, static_cast<int32_t>(tail),
                                static_cast<int32_t>(position - tail), pages});
  }
  const size_t kv_bytes = static_cast<size_t>(next_page) * kv_layout.page_bytes();
  if (kv.size() < kv_bytes) {
    kv.Resize(kv_bytes);
    std::memset(kv.data(), 0, kv_bytes);
  }
}

void TrainingModel::Impl::ReserveLayer(const Batch& batch, bool last, KeptLayer* layer) {
  const int64_t rows = batch.rows(), out_rows = last ? batch.out_rows() : rows;
  layer->x.Resize(rows * d);
  layer->qkv.Resize(rows * qkv_width);
  layer->attention.Resize(rows * q_width);
  layer->log_sum_exp.Resize(rows * weights.config.heads);
  layer->middle.Resize(out_rows * d);
  layer->gate_up.Resize(out_rows * 2 * f);
}

LayerActivations TrainingModel::Impl::Activations(KeptLayer* layer, float* y) {
  LayerActivations a;
  a.x = layer->x.data();
  a.normed = normed.data();
  a.qkv = layer->qkv.data();
  a.rotated = rotated.data();
  a.attention = layer->attention.data();
  a.log_sum_exp = layer->log_sum_exp.data();
  a.attention_out = attention_out.data();
  a.middle = layer->middle.data();
  a.gate_up = layer->gate_up.data();
  a.swiglu = swiglu.data();
  a.y = y;
  return a;
}

void TrainingModel::Impl::ForwardLayers(const Batch& batch, bool keep, AlignedBuffer<float>* out) {
  const int layers = weights.config.layers;
  const int64_t rows = batch.rows(), out_rows = batch.out_rows();
  normed.Resize(rows * d);
  if (weights.config.qk_norm) rotated.Resize(rows * qkv_width);
  attention_out.Resize(out_rows * q_width);
  swiglu.Resize(rows * f);
  out->Resize(out_rows * d);
  if (keep) {
    kept.resize(layers);
    for (int l = 0; l < layers; ++l) ReserveLayer(batch, l + 1 == layers, &kept[l]);
  } else {
    ReserveLayer(batch, false, &plain);
  }
  KeptLayer* first = keep ? &kept[0] : &plain;
  kernels::EmbeddingGather(ctx, weights.embedding, batch.tokens.data(), rows, first->x.data());
  const LayerBatch view = ViewOf(batch);
  for (int l = 0; l < layers; ++l) {
    const bool last = l + 1 == layers;
    KeptLayer* layer = keep ? &kept[l] : &plain;
    float* y = last ? out->data() : keep ? kept[l + 1].x.data() : plain.x.data();
    LayerForward(weights, l, view, last ? std::span<const int64_t>(batch.picked) : std::span<const int64_t>(),
                 kv.data(), Activations(layer, y));
  }
}

void TrainingModel::Impl::Predict(const Batch& batch, float temperature, bool keep, const float* hidden,
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
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    const float* hidden = kept_hidden.data() + begin * d;
    if (!kept_logits) kernels::Gemm(ctx, hidden, d, count, weights.lm_head(), nullptr, false, logits.data(), vocab);
    kernels::LogProbBackward(ctx, logits.data(), vocab, count, vocab, kept_temperature,
                             kept_batch.targets.data() + begin, log_normalizer.data() + begin,
                             kept_entropy.data() + begin, d_logprob.data() + begin,
                             d_entropy.empty() ? nullptr : d_entropy.data() + begin);
    kernels::Gemm(ctx, logits.data(), vocab, count, weights.lm_head_transposed, nullptr, false,
                  d_hidden.data() + begin * d, d);
    kernels::GemmWeightGradient(ctx, logits.data(), vocab, hidden, d, count, vocab, d, weights.dtype, dw);
  }
  kept_logits = false;  // now gradients
  dx.Resize(kept_batch.rows() * d);
  inverse_rms.Resize(kept_batch.rows());
  // The norm's own inverse RMS again; its output goes to scratch, for it is kept already.
  kernels::RmsNorm(ctx, kept_final.data(), d, weights.final_norm.data(), weights.config.rms_epsilon, rows, d, dx.data(),
                   d, inverse_rms.data());
  kernels::RmsNormBackward(ctx, kept_final.data(), d, weights.final_norm.data(), inverse_rms.data(), d_hidden.data(), d,
                           rows, d, /*accumulate_dx=*/false, dx.data(), d, GradientOf("model.norm.weight", gradients));
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

TrainingModel::TrainingModel(const kernels::KernelContext& ctx, const ComputeWeights& weights)
    : impl_(std::make_unique<Impl>(ctx, weights)) {}
TrainingModel::~TrainingModel() = default;

void TrainingModel::Forward(const PackedSequences& packed, float temperature, bool keep, std::vector<float>* logprobs,
                            std::vector<float>* entropies) {
  Impl& m = *impl_;
  HONE_CHECK(m.weights.complete()) << "some weights have not been loaded";
  Impl::Batch& batch = keep ? m.kept_batch : m.plain_batch;
  m.SetBatch(packed, &batch);
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
  const LayerBatch view = m.ViewOf(m.kept_batch);
  const int layers = m.weights.config.layers;
  for (int l = layers - 1; l >= 0; --l) {
    const bool last = l + 1 == layers;
    const LayerGradients layer_gradients(m.weights.layout, l, gradients->data());
    LayerBackward(m.weights, l, view, last ? std::span<const int64_t>(m.kept_batch.picked) : std::span<const int64_t>(),
                  m.Activations(&m.kept[l], nullptr), scratch, layer_gradients, m.dx.data());
  }
  kernels::EmbeddingGradient(m.ctx, m.dx.data(), m.kept_batch.tokens.data(), m.kept_batch.rows(), m.d,
                             m.GradientOf("model.embed_tokens.weight", gradients->data()));
}

size_t TrainingModel::ActivationBytesPerToken() const {
  return static_cast<size_t>(model::ActivationBytesPerToken(impl_->weights.config));
}

size_t TrainingModel::size_bytes() const {
  const Impl& m = *impl_;
  size_t floats = 0;
  const auto add_layer = [&](const KeptLayer& layer) {
    for (const auto* buffer :
         {&layer.x, &layer.qkv, &layer.attention, &layer.log_sum_exp, &layer.middle, &layer.gate_up}) {
      floats += buffer->capacity();
    }
  };
  for (const KeptLayer& layer : m.kept) add_layer(layer);
  add_layer(m.plain);
  for (const auto* buffer :
       {&m.kept_final, &m.kept_hidden, &m.log_normalizer, &m.kept_entropy, &m.plain_out, &m.plain_hidden,
        &m.normed,     &m.rotated,     &m.attention_out,  &m.swiglu,       &m.logits,    &m.dx,
        &m.d_hidden,   &m.d_normed,    &m.inverse_rms,    &m.d_rotated,    &m.d_qkv,     &m.d_attention,
        &m.d_picked,   &m.d_swiglu,    &m.d_gate_up}) {
    floats += buffer->capacity();
  }
  return floats * sizeof(float) + m.kv.capacity();
}

}  // namespace hone::model
