// What each instruction path offers to the drivers in cpu/: plain functions over plain data, no threads, no memory of
// their own. The drivers split work, keep scratch and check arguments; which range a function is given never shows in a
// result.
//
// Units: "steps" of K are one float (fp32) or one dword, a pair of bf16 (k even in the lower half). A panel is 16
// columns of a weight: [steps][16]. Strides are in elements of the pointer's type. This header is shared by translation
// units compiled for different instruction sets: no inline functions here.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace hone::kernels::cpu {

inline constexpr int kPanelColumns = 16;
inline constexpr int kStepAlign =
    16;  // bf16: steps of a row are padded to a multiple of this (32 values, an AMX tile row)
inline constexpr int kAttentionBlock = 16;     // = kBlockTokens
inline constexpr int kAttentionSegment = 256;  // = kSegmentTokens
inline constexpr int kQueryTileRows = 24;  // query rows (tokens x heads of a kv head) that one attention task takes at
                                           // most, where a token has no more heads than that

enum class CMode {
  kStore,     // c = sum (+ bias)
  kAddAfter,  // c = c + (sum + bias)
  kContinue,  // the sum starts from c: for sums over K cut into consecutive pieces
};

// c[i, j] over rows [0, m) and columns [0, n): sum over k < steps of a(i, k) b(k, j).
// b(k, j) = b[(j / 16) * b_panel_stride + k * b_step_stride + j % 16]; whole panels are readable, columns >= n are not
// stored.
struct GemmBlock {
  // by rows: a(i, k) = a[i * a_stride + k]; by columns: a(i, k) = a[(i / 16) * a_panel_stride + k * a_stride + i % 16]
  const void* a;
  int64_t a_stride;
  const void* b;
  int64_t b_panel_stride;
  int64_t b_step_stride;
  int64_t m, n, steps;
  float* c;
  int64_t ldc;
  const float* bias;  // null or [n]
  CMode mode;
  int64_t a_panel_stride = kPanelColumns;
};

// Operand A of the bf16 GEMM as a path likes it; `rows` = its rows, `steps` = padded steps.
enum class Bf16Operand {
  kPairRows,   // [rows][steps] dwords: bf16 dot products on vectors
  kFloatRows,  // [rows][2 * steps] floats with bf16 values: paths without a dot product
  kTiles,      // [rows / 16][steps / 16][16][16] dwords: AMX
};

// One query tile of one sequence and kv head (attention.cc). Query row r = token * group + head.
struct AttentionTile {
  const float* q;  // the tile's first token, first head of the group; [token][group][E]
  int64_t ldq;     // between tokens
  int tokens, group;
  int head_dim;
  int position;  // of the first token
  const int32_t* pages;
  int page_tokens;
  const char* base;
  size_t page_bytes;
  size_t k_offset, v_offset;  // of this kv head inside a page
  bool bf16;
  float scale;
  float* o;  // [token][group][E] with stride ldo between tokens
  int64_t ldo;
  float* log_sum_exp;  // null, or [token][group] with stride ld_lse between tokens
  int64_t ld_lse;
  const float* key_bias;  // null, or of each of the sequence's tokens as a key: 0, or -inf where it is masked
  float* scratch;         // AttentionScratch floats
};

// Gradients of one sequence and kv head (attention_backward.cc), from the queries of its tokens [first_query, T) on.
// All fp32, values already rounded to the compute dtype.
struct AttentionBackwardTask {
  const float* q;  // [T - first_query][group][E], stride ldq between tokens
  const float* k;  // [T][E], stride ldkv
  const float* v;
  int64_t ldq, ldkv;
  const float* o;  // [T - first_query][group][E], stride ldo between tokens; d_o alike
  const float* d_o;
  int64_t ldo;
  const float* log_sum_exp;  // [T - first_query][group], stride ld_lse
  int64_t ld_lse;
  int64_t tokens;       // T
  int64_t first_query;  // of which gradients come; earlier tokens are keys alone
  int group, head_dim;
  bool bf16;  // round q, k, v first
  float scale;
  float* dq;  // like q
  float* dk;  // like k, overwritten
  float* dv;
  const float* key_bias;  // as in AttentionTile
  float* scratch;         // AttentionBackwardScratch floats
};

struct AdamWStep {  // the constants of one AdamW step, prepared once
  float gradient_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay, step_size, inverse_sqrt_correction2,
      epsilon;
};

struct KernelTable {
  const char* name;  // in the numerics key

  // GEMM.
  void (*gemm_f32)(const GemmBlock&, bool a_by_columns);
  void (*gemm_bf16)(const GemmBlock&, bool a_by_columns);  // a_by_columns: not where bf16_operand is kFloatRows
  Bf16Operand bf16_operand;
  // Rows [begin, end) of a [*, k] into `out` in the format above; values beyond k are 0. kTiles: begin and end are
  // multiples of 16, rows >= m are 0.
  void (*convert_operand)(const float* a, int64_t lda, int64_t m, int64_t begin, int64_t end, int64_t k, int64_t steps,
                          void* out);
  // One panel from 16 rows of w (rows >= `valid` are 0): out[s][16].
  void (*pack_rows_f32)(const float* w, int64_t ld, int valid, int64_t k, float* out);
  void (*pack_rows_bf16)(const float* w, int64_t ld, int valid, int64_t k, int64_t steps, uint32_t* out);
  // Panels from the columns of w [k][columns], the transpose: panel p at out + p * steps * 16 (fp32: k * 16); columns
  // beyond are 0.
  void (*pack_columns_f32)(const float* w, int64_t ld, int64_t columns, int64_t k, bool round, float* out);
  void (*pack_columns_bf16)(const float* w, int64_t ld, int64_t columns, int64_t k, int64_t steps, uint32_t* out);
  void (*transpose_blocks)(uint32_t* blocks, int64_t count);  // each 16 x 16 block of dwords in place
  void (*column_sums)(const float* x, int64_t ld, int64_t rows, int64_t n, float* sums);  // sums[j] += sum_i x[i, j]

  // Attention.
  void (*attention_tile)(const AttentionTile&);
  void (*attention_backward)(const AttentionBackwardTask&);

  // Rows.
  void (*rms_norm)(const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows, int64_t d, float* y,
                   int64_t ldy, float* inverse_rms);
  void (*rms_norm_backward)(const float* x, int64_t ldx, const float* w, const float* inverse_rms, const float* dy,
                            int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx, int64_t lddx,
                            float* dw);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y);
  void (*swiglu_backward)(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup);
  void (*rotate)(float* x, int heads, int head_dim, const float* cos, const float* sin, bool inverse);  // one token
  void (*add)(const float* x, int64_t n, float* y);
  void (*round_to_bf16)(const float* x, int64_t n, uint16_t* y);
  void (*expand_bf16)(const uint16_t* x, int64_t n, float* y);
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*adamw)(const AdamWStep&, int64_t n, const float* gradient, float* weight, float* m, float* v);

  // Soft-max partial of one vocabulary tile of logits * inverse_temperature: max, sum of e^(x - max), sum of (x - max)
  // e^(x - max).
  void (*softmax_partial)(const float* x, int64_t n, float inverse_temperature, float* max, float* sum,
                          float* weighted);
  // x[j] <- -(d_logprob + d_entropy (x/T - log_normalizer + entropy)) p_j / T for j in [0, n); the target's own term is
  // the driver's.
  void (*log_prob_gradient)(float* x, int64_t n, float inverse_temperature, float log_normalizer, float entropy,
                            float d_logprob, float d_entropy);
  // e[i] = exp((x[i] - max) * inverse_temperature).
  void (*exponentials)(const float* x, int64_t n, float max, float inverse_temperature, float* e);
};

// Floats of scratch for one tile of `rows` query rows, and for one backward task.
size_t AttentionScratch(int rows, int head_dim);
size_t AttentionBackwardScratch(int64_t tokens, int head_dim);

namespace baseline {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
namespace avx512bf16 {
extern const KernelTable kTable;
}
namespace amxbf16 {
extern const KernelTable kTable;
}

}  // namespace hone::kernels::cpu
