// KV pages and the paged forward pass of rollout.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "model/compute_weights.h"
#include "model/layer.h"

namespace hone::model {

using kernels::AlignedBuffer;

namespace {

kernels::KvLayout MakeKvLayout(const ModelConfig& config, kernels::DType dtype, int page_tokens) {
  kernels::KvLayout layout;
  layout.page_tokens = page_tokens;
  layout.kv_heads = config.kv_heads;
  layout.head_dim = config.head_dim;
  layout.dtype = dtype;
  return layout;
}

}  // namespace

KvCache::KvCache(const ModelConfig& config, kernels::DType dtype, int page_tokens, int page_count)
    : layout_(MakeKvLayout(config, dtype, page_tokens)),
      page_count_(page_count),
      layer_bytes_(layout_.page_bytes() * page_count),
      storage_(layer_bytes_ * config.layers) {
  HONE_CHECK(page_tokens > 0 && page_tokens % kernels::kBlockTokens == 0) << page_tokens;
  std::memset(storage_.data(), 0, storage_.size());
}

size_t KvCache::BytesPerPage(const ModelConfig& config, kernels::DType dtype, int page_tokens) {
  return MakeKvLayout(config, dtype, page_tokens).page_bytes() * config.layers;
}

void KvCache::CopyPage(int from, int to) {
  const size_t bytes = layout_.page_bytes();
  for (size_t offset = 0; offset < storage_.size(); offset += layer_bytes_) {
    std::memcpy(storage_.data() + offset + to * bytes, storage_.data() + offset + from * bytes, bytes);
  }
}

struct InferenceModel::Impl {
  const kernels::KernelContext& ctx;
  const ComputeWeights::Impl& weights;

  std::vector<int32_t> tokens, positions;
  std::vector<kernels::AttentionSequence> sequences;
  // Activations of one layer, used again by the next.
  AlignedBuffer<float> x, normed, qkv, rotated, attention, attention_out, gate_up, swiglu, y;

  void Reserve(int64_t rows, int64_t out_rows) {
    const ModelConfig& config = weights.config;
    const int64_t q = int64_t{config.heads} * config.head_dim;
    const int64_t qkv_width = q + 2 * int64_t{config.kv_heads} * config.head_dim;
    x.Resize(rows * config.hidden_size);
    normed.Resize(rows * config.hidden_size);
    qkv.Resize(rows * qkv_width);
    if (config.qk_norm) rotated.Resize(rows * qkv_width);
    attention.Resize(rows * q);
    attention_out.Resize(out_rows * q);
    gate_up.Resize(rows * 2 * config.ffn_size);
    swiglu.Resize(rows * config.ffn_size);
    y.Resize(out_rows * config.hidden_size);
  }

  // The chunks as rows: returns their number.
  int64_t Flatten(std::span<const Chunk> chunks) {
    tokens.clear();
    positions.clear();
    sequences.clear();
    for (const Chunk& chunk : chunks) {
      const int32_t count = static_cast<int32_t>(chunk.tokens.size());
      HONE_CHECK(chunk.position >= 0 && chunk.position + count <= weights.config.max_positions)
          << "chunk ends at position " << chunk.position + count << " of " << weights.config.max_positions;
      sequences.push_back({static_cast<int64_t>(tokens.size()), count, chunk.position, chunk.pages});
      tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
      for (int32_t token : chunk.tokens) HONE_CHECK(token >= 0 && token < weights.config.vocab_size) << token;
      for (int32_t i = 0; i < count; ++i) positions.push_back(chunk.position + i);
    }
    return static_cast<int64_t>(tokens.size());
  }
};

InferenceModel::InferenceModel(const kernels::KernelContext& ctx, const ComputeWeights& weights)
    : impl_(new Impl{ctx, weights.impl()}) {}
InferenceModel::~InferenceModel() = default;

void InferenceModel::Forward(std::span<const Chunk> chunks, std::span<const int64_t> output_rows, KvCache* cache,
                             float* hidden_out) {
  Impl& m = *impl_;
  const ModelConfig& config = m.weights.config;
  HONE_CHECK(m.weights.complete()) << "some weights have not been loaded";
  const int64_t rows = m.Flatten(chunks);
  if (rows == 0) return;
  // The last layer's second half can be done for ascending rows only; others are put in order here.
  std::vector<int64_t> sorted(output_rows.begin(), output_rows.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  HONE_CHECK(sorted.empty() || (sorted.front() >= 0 && sorted.back() < rows));
  m.Reserve(rows, std::max<int64_t>(sorted.size(), 1));

  LayerBatch batch{rows, m.positions.data(), m.sequences, m.sequences, cache->layout(), {}};
  LayerActivations a;
  a.x = a.middle = a.y = m.x.data();
  a.normed = m.normed.data();
  a.qkv = m.qkv.data();
  a.rotated = m.rotated.data();
  a.attention = m.attention.data();
  a.attention_out = m.attention_out.data();
  a.gate_up = m.gate_up.data();
  a.swiglu = m.swiglu.data();
  kernels::EmbeddingGather(m.ctx, m.weights.embedding, m.tokens.data(), rows, m.x.data());
  for (int layer = 0; layer + 1 < config.layers; ++layer) {
    LayerForward(m.weights, layer, batch, {}, cache->layer(layer), a);
  }
  a.middle = a.y = m.y.data();
  static constexpr int64_t kNoRow = 0;
  const std::span<const int64_t> picked = sorted.empty() ? std::span<const int64_t>(&kNoRow, 0) : sorted;
  LayerForward(m.weights, config.layers - 1, batch, picked, cache->layer(config.layers - 1), a);

  if (sorted.empty()) return;
  const int64_t d = config.hidden_size;
  kernels::RmsNorm(m.ctx, m.y.data(), d, m.weights.final_norm.data(), config.rms_epsilon, sorted.size(), d, m.y.data(),
                   d, nullptr);
  for (size_t i = 0; i < output_rows.size(); ++i) {
    const int64_t from = std::lower_bound(sorted.begin(), sorted.end(), output_rows[i]) - sorted.begin();
    std::memcpy(hidden_out + i * d, m.y.data() + from * d, d * sizeof(float));
  }
}

void InferenceModel::Logits(const float* hidden, int64_t rows, float* logits) {
  const kernels::PackedMatrix& head = impl_->weights.lm_head();
  kernels::Gemm(impl_->ctx, hidden, head.k(), rows, head, nullptr, false, logits, head.n());
}

}  // namespace hone::model
