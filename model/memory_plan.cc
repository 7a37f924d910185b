#include "model/memory_plan.h"

#include <algorithm>
#include <utility>

#include "model/layer.h"
#include "model/model.h"

namespace hone::model {
namespace {

using kernels::DType;
using kernels::PackedMatrix;

constexpr int64_t kFloat = sizeof(float);

// The widths that everything is made of.
struct Widths {
  explicit Widths(const ModelConfig& config)
      : d(config.hidden_size),
        f(config.ffn_size),
        v(config.vocab_size),
        q(int64_t{config.heads} * config.head_dim),
        qkv(q + 2 * int64_t{config.kv_heads} * config.head_dim),
        heads(config.heads) {}
  int64_t d, f, v, q, qkv, heads;
  int64_t kept_per_row() const { return d + qkv + q + heads; }  // x, q/k/v, attention, log-sum-exp
  int64_t kept_per_out_row() const { return d + 2 * f; }        // middle, gate and up
};

int64_t PackedBytes(int64_t n, int64_t k, DType dtype, bool transposed) {
  return static_cast<int64_t>(PackedMatrix::SizeBytes(n, k, dtype) +
                              (transposed ? PackedMatrix::SizeBytes(k, n, dtype) : 0));
}

int64_t PageBytes(const ModelConfig& config, DType dtype, int64_t layers) {
  return static_cast<int64_t>(KvCache::BytesPerPage(config, dtype, kernels::kBlockTokens)) / config.layers * layers;
}

}  // namespace

int64_t FlatTensorBytes(const ModelConfig& config) { return config.parameter_count() * kFloat; }

int64_t WeightVersionBytes(const ModelConfig& config, DType dtype) {
  int64_t bytes = 0;
  for (const ParameterInfo& entry : ParameterLayout(config).entries()) {
    bytes += entry.size * (entry.shape.size() == 2 && dtype == DType::kBf16 ? 2 : kFloat);
  }
  return bytes;
}

int64_t LargestTensorBytes(const ModelConfig& config) {
  int64_t largest = 0;
  for (const ParameterInfo& entry : ParameterLayout(config).entries()) largest = std::max(largest, entry.size);
  return largest * kFloat;
}

ComputeWeightsBytes PlanComputeWeights(const ModelConfig& config, DType dtype, bool for_training) {
  const Widths w(config);
  ComputeWeightsBytes bytes;
  for (const auto& [n, k] : {std::pair(w.qkv, w.d), {w.d, w.q}, {2 * w.f, w.d}, {w.d, w.f}}) {
    bytes.packed += config.layers * PackedBytes(n, k, dtype, for_training);
  }
  bytes.packed += PackedBytes(w.v, w.d, dtype, for_training);
  if (!config.tied_embeddings) bytes.packed += PackedBytes(w.v, w.d, dtype, false);
  for (const ParameterInfo& entry : ParameterLayout(config).entries()) {
    if (entry.shape.size() == 1) bytes.packed += entry.size * kFloat;
  }
  bytes.rope = 2 * int64_t{config.max_positions} * (config.head_dim / 2) * kFloat;
  bytes.staging = std::max(w.qkv, 2 * w.f) * w.d * kFloat;
  return bytes;
}

int64_t ActivationBytesPerToken(const ModelConfig& config, Recompute recompute) {
  const Widths w(config);
  const int64_t all = w.kept_per_row() + w.kept_per_out_row();
  const int64_t kept = recompute == Recompute::kLayer ? w.d : recompute == Recompute::kMlp ? all - 2 * w.f : all;
  // What is not kept stands there for one layer.
  return (config.layers * kept + (all - kept) + 2 * w.d) * kFloat;
}

int64_t TrainingModelBytes(const ModelConfig& config, DType dtype, const TrainingBatch& kept,
                           const TrainingBatch& plain, Recompute recompute) {
  const Widths w(config);
  const int64_t rows = std::max(kept.rows, plain.rows), predicted = std::max(kept.predicted, plain.predicted);
  int64_t floats = 0;
  // Kept for backward: every layer's rows, in the last layer's second half only those that predict.
  const int64_t kept_out_rows = (config.layers - 1) * kept.rows + kept.predicted;
  if (kept.rows > 0) {
    floats += config.layers * kept.rows * w.d;
    if (recompute != Recompute::kLayer) {
      floats += config.layers * kept.rows * (w.kept_per_row() - w.d) + kept_out_rows * w.d;
    }
    if (recompute == Recompute::kNone) floats += kept_out_rows * 2 * w.f;
    floats += kept.predicted * (2 * w.d + 2);  // before and after the last norm; log-normalizer and entropy
  }
  // One layer's, used again by each: of the pass that keeps nothing, and of what is not kept.
  const int64_t layer_rows = config.layers > 1 ? kept.rows : kept.predicted;
  floats += plain.rows * w.d + plain.predicted * 2 * w.d;
  floats += std::max(plain.rows, recompute == Recompute::kLayer ? kept.rows : 0) * (w.kept_per_row() - w.d);
  const int64_t plain_rows = config.layers > 1 ? plain.rows : plain.predicted;
  floats += std::max(plain_rows, recompute == Recompute::kLayer ? layer_rows : 0) * w.d;
  floats += std::max(plain_rows, recompute != Recompute::kNone ? layer_rows : 0) * 2 * w.f;
  floats += std::max(kept.masked_keys ? kept.rows : 0, plain.masked_keys ? plain.rows : 0);
  if (kept.sums_apart && config.tied_embeddings) floats += w.v * w.d;
  // Scratch of forward.
  floats += rows * (w.d + w.f + (config.qk_norm ? w.qkv : 0)) + predicted * w.q;
  floats += std::min(predicted, LogitRows(config.vocab_size)) * w.v;
  // Scratch of backward beyond it.
  if (kept.rows > 0) {
    floats += kept.rows * (2 * w.d + 1 + 3 * w.f + w.qkv + w.q + (config.qk_norm ? w.qkv : 0));
    floats += kept.predicted * (w.d + std::max(w.d, w.q));
  }
  // One layer's pages; a sequence's last one may be nearly empty.
  int64_t pages = 0;
  for (const TrainingBatch& batch : {kept, plain}) {
    const int64_t last_pages = std::min(batch.sequences, batch.rows);
    pages = std::max(pages, (batch.rows - last_pages) / kernels::kBlockTokens + last_pages);
  }
  return floats * kFloat + pages * PageBytes(config, dtype, 1);
}

int64_t TrainingScratchBytes(const ModelConfig& config, DType dtype, const TrainingBatch& batch, int64_t longest,
                             int threads) {
  const Widths w(config);
  const int64_t logit_rows = std::min(batch.predicted, LogitRows(config.vocab_size));
  size_t operand = kernels::GemmScratchBytes(logit_rows, w.v, dtype);
  for (const int64_t k : {w.d, w.q, w.qkv, 2 * w.f}) {
    operand = std::max(operand, kernels::GemmScratchBytes(batch.rows, k, dtype));
  }
  // Two buffers, one for each side of the product, that grow apart.
  const size_t panels =
      kernels::GemmWeightGradientScratchBytes(batch.rows, std::max({w.d, w.qkv, w.f}), std::max({w.d, w.q, w.f})) +
      kernels::GemmWeightGradientScratchBytes(logit_rows, w.v, w.d);
  const size_t attention = kernels::AttentionBackwardScratchBytes(longest, config.head_dim);
  return static_cast<int64_t>(operand + panels + attention * static_cast<size_t>(threads));
}

int64_t InferenceModelBytes(const ModelConfig& config, int64_t rows, int64_t output_rows) {
  const Widths w(config);
  const int64_t row = 2 * w.d + w.qkv + (config.qk_norm ? w.qkv : 0) + w.q + 3 * w.f;
  return (rows * row + output_rows * (w.q + w.d)) * kFloat;
}

int64_t KvBytesPerToken(const ModelConfig& config, DType dtype) {
  return PageBytes(config, dtype, config.layers) / kernels::kBlockTokens;
}

}  // namespace hone::model
