// The ops that every model is made of, on the CPU: one public header, plain references in reference/, fast versions in
// cpu/.
//
// The numerics contract (docs/numerics.md). Each op is a pure function of its inputs. A row's bits depend on that row's
// inputs alone: never on the other rows, on how many there are, on paging, chunking or the number of threads.
//   - Gemm: element (i, j) is summed over K in one ascending order, fixed by (N, K) and the instruction path.
//   - Attention: (m, l, o) partials over KV segments of kSegmentTokens anchored at position 0, each walked in ascending
//   blocks
//     of kBlockTokens, are merged in segment order.
//   - Row reductions (norms, soft-max, log-prob) go in a fixed order over fixed tiles.
//   - Sums over rows (weight gradients) go in ascending row order in fixed row blocks.
// exp, log, sin, cos, sqrt are our own or correctly rounded; nothing is contracted by the compiler; FMA is explicit.
// Equality is promised within one numerics key (KernelContext::NumericsKey).
//
// Shapes: T tokens (rows), D model dim, H query heads, K kv heads, E head dim, F ffn dim, V vocabulary; fp32 row-major
// unless said otherwise. Pointers may be unaligned. `KernelContext` carries threads and instruction path; ops are
// thread-safe as long as outputs do not overlap. Sizes are the caller's duty (HONE_CHECKed): bad sizes are bugs, not
// input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernels/random.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"

namespace hone::kernels {

inline constexpr int kBlockTokens = 16;     // KV tokens scored at once; a page holds a whole number of blocks
inline constexpr int kSegmentTokens = 256;  // KV tokens of one attention partial
inline constexpr int kVocabTile = 1024;     // vocabulary entries of one log-prob partial

// Compute dtype of GEMM operands and of the KV cache. Activations between ops, accumulators and gradients are fp32 in
// both.
enum class DType { kF32, kBf16 };

// kAmxBf16: as kAvx512Bf16, with bf16 matrix products on AMX tiles.
enum class IsaPath { kBaseline, kAvx2, kAvx512, kAvx512Bf16, kAmxBf16 };

// Threads and instruction path for a process or an engine. Immutable after creation; shared by reference.
class KernelContext {
 public:
  // threads <= 0: one per core. The best path of this CPU, or a given lower one (tests). A path that the CPU lacks is a
  // bug.
  static std::unique_ptr<KernelContext> Create(int threads);
  static std::unique_ptr<KernelContext> Create(int threads, IsaPath path);
  static IsaPath BestPath();
  virtual ~KernelContext() = default;
  virtual ThreadPool& pool() const = 0;
  virtual IsaPath path() const = 0;
  // "cpu/<path>/<dtype>/<kernel revision>": results are bit-equal between machines and processes of equal keys.
  std::string NumericsKey(DType dtype) const;
};

// ------------------------------------------------------------------------------------------------ GEMM

// A weight [N, K] rounded to `dtype` (nearest even) and laid out for Gemm.
class PackedMatrix {
 public:
  PackedMatrix();
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;
  // From row-major fp32 w [N, K] with row stride ld (>= K). Reuses this object's memory where sizes agree.
  void Pack(const KernelContext& ctx, const float* w, int64_t n, int64_t k, int64_t ld, DType dtype);
  // The transpose of a row-major fp32 w [N, K]: packs W^T, a [K, N] weight, for input gradients dX = dY W.
  void PackTransposed(const KernelContext& ctx, const float* w, int64_t n, int64_t k, int64_t ld, DType dtype);
  // Row i as fp32 (the rounded values): embedding look-ups in tied weights.
  void UnpackRow(int64_t i, float* out) const;
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  DType dtype() const { return dtype_; }
  size_t size_bytes() const;
  static size_t SizeBytes(int64_t n, int64_t k, DType dtype);  // of a packed [N, K], before there is one
  const void* data() const;                                    // private layout, for the kernels

 private:
  int64_t n_ = 0, k_ = 0;
  DType dtype_ = DType::kF32;
  AlignedBuffer<std::byte> storage_;
};

// c[i, j] = (accumulate ? c[i, j] : 0) + sum_k a[i, k] w[j, k] + (bias ? bias[j] : 0);  a [M, K] with row stride lda, c
// [M, N] with row stride ldc. a is rounded to w's dtype first (in bf16 products are exact in fp32). The sum over K is
// complete before bias and c are added, in that order.
void Gemm(const KernelContext& ctx, const float* a, int64_t lda, int64_t m, const PackedMatrix& w, const float* bias,
          bool accumulate, float* c, int64_t ldc);
// Scratch that the calling thread keeps after such a product, at most (on any path), for memory planning.
size_t GemmScratchBytes(int64_t m, int64_t k, DType dtype);

// Weight gradient: dw[j, k] += sum_i dy[i, j] x[i, k], i ascending in fixed row blocks; dy [M, N], x [M, K] (both
// rounded to `dtype` first), dw [N, K] fp32.
void GemmWeightGradient(const KernelContext& ctx, const float* dy, int64_t ld_dy, const float* x, int64_t ld_x,
                        int64_t m, int64_t n, int64_t k, DType dtype, float* dw);
size_t GemmWeightGradientScratchBytes(int64_t m, int64_t n, int64_t k);  // as GemmScratchBytes

// db[j] += sum_i dy[i, j], i ascending.
void BiasGradient(const KernelContext& ctx, const float* dy, int64_t ld_dy, int64_t m, int64_t n, float* db);

// ------------------------------------------------------------------------------------------------ rows

// y[t] = x[t] / sqrt(mean(x[t]^2) + epsilon) * w;  x, y [rows, d] with strides; inverse_rms [rows] kept for backward
// where not null. In place (y == x) allowed. QK-norm is the same op with d = E on rows T*H.
void RmsNorm(const KernelContext& ctx, const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows,
             int64_t d, float* y, int64_t ldy, float* inverse_rms);
// dx[t] (= or +=, by `accumulate_dx`) and dw += over rows in fixed row blocks.
void RmsNormBackward(const KernelContext& ctx, const float* x, int64_t ldx, const float* w, const float* inverse_rms,
                     const float* dy, int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx,
                     int64_t lddx, float* dw);

// y = silu(gate) * up;  gate_up [T, 2F] with gate first, y [T, F].
void SwiGlu(const KernelContext& ctx, const float* gate_up, int64_t rows, int64_t f, float* y);
// dgate_up [T, 2F] from dy [T, F].
void SwiGluBackward(const KernelContext& ctx, const float* gate_up, const float* dy, int64_t rows, int64_t f,
                    float* dgate_up);

// Rotary embedding, half-split pairs (i, i + E/2) as in Hugging Face: x [rows, heads, E] rotated in place by the angle
// table row positions[r]. cos/sin tables [max_positions, E/2] come from RopeTables (model/), computed once on the host.
// `inverse` rotates back (the backward pass). ldx is the stride between rows (tokens).
void Rope(const KernelContext& ctx, float* x, int64_t ldx, int64_t rows, int heads, int head_dim,
          const int32_t* positions, const float* cos_table, const float* sin_table, bool inverse);

// y[t] = table row ids[t] (rounded to the table's dtype), y [T, D].
void EmbeddingGather(const KernelContext& ctx, const PackedMatrix& table, const int32_t* ids, int64_t rows, float* y);
// dtable[ids[t]] += dy[t], t ascending.
void EmbeddingGradient(const KernelContext& ctx, const float* dy, const int32_t* ids, int64_t rows, int64_t d,
                       float* dtable);

// y += x over n elements.
void AddInPlace(const KernelContext& ctx, const float* x, int64_t n, float* y);

// ------------------------------------------------------------------------------------------------ attention

// Layout of one KV page of one layer: page_tokens tokens (a multiple of kBlockTokens) of K and V for `kv_heads` heads,
// in `dtype`, arranged for the kernels (private). A sequence's token j lives in page pages[j / page_tokens], slot j %
// page_tokens.
struct KvLayout {
  int page_tokens = kBlockTokens;
  int kv_heads = 0;
  int head_dim = 0;  // even
  DType dtype = DType::kF32;
  size_t page_bytes() const;
};

// Consecutive query tokens of one sequence. Query row query_row + i stands at position + i and attends to KV tokens
// [0, position + i]. `pages` has an entry for every page up to the last token; page p begins at base + pages[p] *
// page_bytes().
struct AttentionSequence {
  int64_t query_row = 0;
  int32_t query_count = 0;
  int32_t position = 0;
  const int32_t* pages = nullptr;
};

// Writes K and V rows (k, v [T, K, E] with row stride ld; K after RoPE) of `sequences` to their pages, rounded to the
// dtype.
void KvWrite(const KernelContext& ctx, const KvLayout& layout, const float* k, const float* v, int64_t ld,
             std::span<const AttentionSequence> sequences, std::byte* base);

// Causal softmax attention with grouped queries: o[t, h] = softmax(scale * q[t, h] . K[kv(h)]) V[kv(h)], q rounded to
// the layout's dtype first; q [T, H, E] with row stride ldq, o [T, H, E] dense; log_sum_exp [T, H] kept for backward
// where not null. key_bias [T], where not null: 0, or -inf for rows that no other row may attend to (each keeps its own
// key); for whole sequences alone, which begin at position 0.
void Attention(const KernelContext& ctx, const KvLayout& layout, int heads, float scale, const float* q, int64_t ldq,
               std::span<const AttentionSequence> sequences, const std::byte* base, float* o, float* log_sum_exp,
               const float* key_bias = nullptr);

// `count` consecutive rows of a packed batch, from `row` on: the tokens of a sequence that come after those of segment
// `prefix`, or from its first one on where prefix is -1. A prefix is an earlier segment that has none itself; several
// segments may share it (a group's prompt).
struct PackedSegment {
  int64_t row = 0;
  int64_t count = 0;
  int32_t prefix = -1;
};

// Gradients for the whole sequences that `segments` make: q, k, v as given to the forward pass (fp32, rounded here to
// `dtype` as the forward pass did), o, log_sum_exp, d_o [T, H, E] -> dq, dk, dv (overwritten). k, v, dk, dv [T, K, E];
// row strides ldq (q and dq), ldkv (k, v, dk, dv). A shared prefix's dk and dv are those of its own queries, plus those
// of each segment that follows it, in the order of the segments. key_bias: as given to the forward pass; no segment may
// have a prefix then.
void AttentionBackward(const KernelContext& ctx, DType dtype, int heads, int kv_heads, int head_dim, float scale,
                       const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o,
                       const float* log_sum_exp, const float* d_o, std::span<const PackedSegment> segments, float* dq,
                       float* dk, float* dv, const float* key_bias = nullptr);
size_t AttentionBackwardScratchBytes(int64_t tokens, int head_dim);  // of each thread; tokens: of the longest sequence

// ------------------------------------------------------------------------------------------------ log-probs and
// sampling

// Of the distribution softmax(logits / temperature): for each row, log-prob of targets[r], entropy (natural log) and
// log-normalizer, by partials over tiles of kVocabTile merged in order. Null outputs are skipped. The sampler and the
// learner both call this op. targets[r] < 0: log-prob 0. ld = 0: all rows are one row (a prompt's last, whose next
// token several samples draw).
void LogProb(const KernelContext& ctx, const float* logits, int64_t ld, int64_t rows, int64_t vocab, float temperature,
             const int32_t* targets, float* logprob, float* entropy, float* log_normalizer);
// In place: logits -> d loss / d logits, given d loss / d logprob [rows] and d loss / d entropy [rows] (may be null).
void LogProbBackward(const KernelContext& ctx, float* logits, int64_t ld, int64_t rows, int64_t vocab,
                     float temperature, const int32_t* targets, const float* log_normalizer, const float* entropy,
                     const float* d_logprob, const float* d_entropy);

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy, the lowest index among equals; log-probs are then those at temperature 1
  int top_k = 0;             // 0 = off
  float top_p = 1.0f;        // smallest set of most likely tokens with mass >= top_p (at least one)
  float min_p = 0.0f;        // tokens with probability >= min_p * max probability
};
// Draws one token from a row of logits by inverse CDF with `uniform` in [0, 1). Filters apply in the order top-k,
// top-p, min-p; ties are kept in index order. Tokens with banned[token] != 0 (may be null) are excluded.
int32_t Sample(const float* logits, int64_t vocab, const SamplingParams& params, double uniform, const uint8_t* banned);

// ------------------------------------------------------------------------------------------------ optimizer

// Sum of squares in double, in fixed blocks combined in order.
double SumOfSquares(const KernelContext& ctx, const float* x, int64_t n);

struct AdamWParams {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  double bias_correction1, bias_correction2;  // 1 - beta^t
  float gradient_scale;                       // clipping factor, applied to g first
};
// AdamW with decoupled weight decay (arXiv:1711.05101), as PyTorch computes it:
// w -= lr * wd * w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr / c1 * m / (sqrt(v) / sqrt(c2) + eps).
void AdamW(const KernelContext& ctx, const AdamWParams& params, int64_t n, const float* gradient, float* weight,
           float* m, float* v);

// How moments are stored between steps: as they are; in bf16; in 8 bits, relative to the largest of a block of
// kMomentBlock elements (cpu/moments.cc).
enum class MomentFormat { kF32, kBf16, kF8 };
enum class Moment { kFirst, kSecond };
inline constexpr int64_t kMomentBlock = 256;
// Of one parameter of n elements: n floats, bf16s or codes; with kF8 [ceil(n / kMomentBlock)] scales. All zero: moments
// of zero.
struct MomentView {
  void* values = nullptr;
  float* scales = nullptr;
};
// AdamW on stored moments: weights move as AdamW moves them with the values that ReadMoments gives; the new moments are
// then rounded to their format, stochastically, as a function of (rounding_key, element, value), and with kF8 of its
// block's largest value.
void AdamWStored(const KernelContext& ctx, const AdamWParams& params, int64_t n, const float* gradient, float* weight,
                 MomentFormat format, MomentView m, MomentView v, uint64_t rounding_key);
// out [n]: one parameter's moments as fp32.
void ReadMoments(const KernelContext& ctx, MomentFormat format, Moment moment, MomentView view, int64_t n, float* out);

// Nearest-even rounding of fp32 to bf16 and back, over n elements.
void RoundToBf16(const KernelContext& ctx, const float* x, int64_t n, uint16_t* y);
void ExpandBf16(const KernelContext& ctx, const uint16_t* x, int64_t n, float* y);

}  // namespace hone::kernels
