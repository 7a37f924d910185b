// Decoder transformers of the Llama, Qwen2 and Qwen3 families: what rollout worker and learner share.
//
// One layer code serves both: InferenceModel (paged KV, chunks of many sequences) and TrainingModel (whole packed
// sequences, kept activations, backward) run the same ops in the same order, so at equal weights log-probs are equal
// bit for bit.
//
// Legend: T tokens, D model dim, L layers, H query heads, K kv heads, E head dim, F ffn dim, V vocabulary.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace hone::model {

// ------------------------------------------------------------------------------------------------ parameters

struct ParameterInfo {
  std::string name;            // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // as in safetensors
  int64_t offset = 0;          // of the first element in the flat array
  int64_t size = 0;
  bool decays = false;  // weight decay applies (matrices, not norms or biases)
};

// The parameter list of a model, in name order (the canonical order of hashes, checkpoints and the wire).
class ParameterLayout {
 public:
  explicit ParameterLayout(const ModelConfig& config);
  const std::vector<ParameterInfo>& entries() const& { return entries_; }
  std::vector<ParameterInfo> entries() && { return std::move(entries_); }  // of a temporary: a loop may keep the list
  const ParameterInfo* Find(std::string_view name) const;
  int64_t total_size() const { return total_size_; }

 private:
  std::vector<ParameterInfo> entries_;
  int64_t total_size_ = 0;
};

// All parameters as one flat fp32 array (masters, gradients, moments all use this shape).
using FlatTensor = kernels::AlignedBuffer<float>;

// Masters from a Hugging Face folder (safetensors, sharded or not; F32, F16 or BF16). NOT_FOUND: no weights;
// INVALID_ARGUMENT: a tensor is missing, surplus or of another shape (named, expected and actual).
absl::StatusOr<FlatTensor> LoadParameters(const ModelConfig& config, const std::string& directory);
// N(0, initializer_range) matrices, ones for norms, zeros for biases; a function of (config, seed).
FlatTensor RandomParameters(const ModelConfig& config, uint64_t seed);
// Writes model.safetensors (sharded above max_shard_bytes) of the given dtype and config.json into `directory`,
// atomically.
absl::Status SaveParameters(const ModelConfig& config, const FlatTensor& masters, kernels::DType dtype,
                            const std::string& directory, int64_t max_shard_bytes = int64_t{4} << 30);

// Canonical hash of fp32 masters: SHA-256 over one line per parameter, in name order:
// "<name> F32 <d0>x<d1>... <sha256 of the little-endian bytes>\n".
std::string RootHash(const ModelConfig& config, const FlatTensor& masters);

// ------------------------------------------------------------------------------------------------ compute weights

// The weights as the kernels read them: packed, rounded to `dtype`, with (for training) transposed copies.
// Not thread-safe to change; const use is.
class ComputeWeights {
 public:
  ComputeWeights(const kernels::KernelContext& ctx, const ModelConfig& config, kernels::DType dtype, bool for_training);
  ~ComputeWeights();
  ComputeWeights(ComputeWeights&&) noexcept;
  const ModelConfig& config() const;
  kernels::DType dtype() const;
  // From masters (rounds) or, in the same order and dtype-exact, from tensors received one by one: LoadTensor takes the
  // fp32 or bf16-exact fp32 values of the entry named; all entries must be loaded before use.
  void LoadAll(const FlatTensor& masters);
  absl::Status LoadTensor(std::string_view name, const float* values, int64_t size);
  size_t size_bytes() const;
  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// ------------------------------------------------------------------------------------------------ inference

// KV pages of all layers: `page_count` pages of `page_tokens` tokens. Page ids are the caller's to hand out.
class KvCache {
 public:
  KvCache(const ModelConfig& config, kernels::DType dtype, int page_tokens, int page_count);
  int page_tokens() const { return layout_.page_tokens; }
  int page_count() const { return page_count_; }
  static size_t BytesPerPage(const ModelConfig& config, kernels::DType dtype, int page_tokens);
  const kernels::KvLayout& layout() const { return layout_; }
  std::byte* layer(int l) { return storage_.data() + static_cast<size_t>(l) * layer_bytes_; }
  // Copies page `from` to `to` in every layer (copy-on-write of a shared prompt's last page).
  void CopyPage(int from, int to);

 private:
  kernels::KvLayout layout_;
  int page_count_;
  size_t layer_bytes_;
  kernels::AlignedBuffer<std::byte> storage_;
};

// Consecutive tokens of one sequence, to be appended at `position`.
struct Chunk {
  std::span<const int32_t> tokens;
  int32_t position = 0;
  const int32_t* pages = nullptr;  // page ids of the sequence, enough for position + tokens.size()
};

class InferenceModel {
 public:
  // `weights` must outlive the object; its contents may be replaced between calls.
  InferenceModel(const kernels::KernelContext& ctx, const ComputeWeights& weights);
  ~InferenceModel();
  // Appends all chunks to the cache and writes, for each entry of `output_rows` (row numbers in the concatenation of
  // the chunks), the final hidden state [D] after the last norm to hidden_out [rows, D].
  void Forward(std::span<const Chunk> chunks, std::span<const int64_t> output_rows, KvCache* cache, float* hidden_out);
  // logits [rows, V] of hidden [rows, D].
  void Logits(const float* hidden, int64_t rows, float* logits);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ------------------------------------------------------------------------------------------------ training

// Whole sequences, packed without padding in segments: rows [starts[s], starts[s + 1]) are a sequence, or the part of
// one that comes after the tokens of segment prefixes[s]. Several sequences that begin alike share those tokens' rows
// so: they go through the model once, forward and backward, and what is computed for the others is the same bit for bit
// as without sharing (forward; gradients differ in the order of their sums). Row r predicts targets[r] (the next token,
// as a rule); rows with targets[r] < 0 need no prediction and cost no LM head.
struct PackedSequences {
  std::vector<int32_t> tokens;   // [T]
  std::vector<int64_t> starts;   // [S + 1], starts[0] = 0, starts[S] = T
  std::vector<int32_t> targets;  // [T]
  // [S], or empty where there are none: the segment before this one that holds its first tokens and has no prefix
  // itself; -1: none.
  std::vector<int32_t> prefixes;
  // [U + 1], or empty: rows [sum_starts[u], sum_starts[u + 1]), whole segments and what follows them, are summed by
  // themselves, in blocks that begin with the range, and follow one another in every sum. So the bits of gradients do
  // not depend on how such ranges are spread over batches. Empty: all rows are one range.
  std::vector<int64_t> sum_starts;
  // [layers, T], or empty: 1 where no other row may attend to the row in that layer (repetition dropout). Sequences may
  // share no rows then.
  std::vector<uint8_t> masked_keys;
};

// What Backward computes again instead of finding it kept; the bits are the same.
enum class Recompute {
  kNone,   // norms and SwiGLU alone
  kMlp,    // the product before SwiGLU too: more than half of what is kept, for a ninth or so of a step's products
  kLayer,  // all but each layer's input: least memory, for the whole forward pass once more
};

// Forward and backward over packed sequences. The loss is the caller's: it sees log-probs and entropies and hands back
// their gradients. Not thread-safe.
class TrainingModel {
 public:
  TrainingModel(const kernels::KernelContext& ctx, const ComputeWeights& weights,
                Recompute recompute = Recompute::kNone);
  ~TrainingModel();
  // logprobs, entropies [number of rows with targets >= 0, in row order] of softmax(logits / temperature).
  // keep = true keeps what Backward needs; false is for reference and old log-probs.
  void Forward(const PackedSequences& batch, float temperature, bool keep, std::vector<float>* logprobs,
               std::vector<float>* entropies);
  // Adds to gradients (flat, as ParameterLayout) the gradient of sum_r d_logprob[r] * logprob[r] + d_entropy[r] *
  // entropy[r] for the batch of the last Forward with keep = true. d_entropy may be empty (zero).
  void Backward(std::span<const float> d_logprob, std::span<const float> d_entropy, FlatTensor* gradients);
  // To be called after the last Backward of a step whose batches have sum_starts: adds what was kept apart until then
  // (of tied embeddings, for they are summed in two places of each batch). Does nothing elsewhere.
  void FinishGradients(FlatTensor* gradients);
  // Forgets it, where a step is begun anew.
  void DropGradients();
  // Bytes of activations that Forward(keep) holds per token, for memory planning.
  size_t ActivationBytesPerToken() const;
  // Bytes of all buffers that it holds now: they grow to the largest batch and stay.
  size_t size_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::model
