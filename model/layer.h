// One decoder layer: the forward pass that rollout and learner share, and its backward pass.
//
//   a = x + O(attention(rope(qk_norm(QKV(norm(x))))))        y = a + Down(silu(Gate(norm(a))) * Up(norm(a)))
//
// The code sees rows and pointers only; whether buffers are kept for backward (learner) or used again in the next layer
// (rollout) is the caller's choice and leaves no trace in the numbers. In the last layer only some rows are wanted
// (those that predict): from attention's output on, the layer then works on these rows alone.
//
// Legend: T rows in, M rows out (M = T but in the last layer), D model dim, H query heads, K kv heads, E head dim, F
// ffn dim; Q = (H + 2K) E.
#pragma once

#include <cstdint>
#include <span>

#include "model/compute_weights.h"

namespace hone::model {

struct RowRange {
  int64_t begin = 0, count = 0;
};

// What every layer of one forward pass has in common.
struct LayerBatch {
  int64_t rows = 0;                                       // T
  const int32_t* positions = nullptr;                     // [T]
  std::span<const kernels::AttentionSequence> sequences;  // queries
  // Rows whose keys and values are to be written: those of `sequences`, and (training) the end of a shared prefix once
  // more into each follower's own page.
  std::span<const kernels::AttentionSequence> kv_writes;
  kernels::KvLayout kv_layout;
  // For the backward pass.
  std::span<const kernels::PackedSegment> segments;
  // Which of the T rows, and of the M rows of the last layer, gradients are summed over before the sums are added.
  std::span<const RowRange> sums, out_sums;
};

// Where one layer's activations go. All fp32, dense.
struct LayerActivations {
  const float* x = nullptr;  // [T, D] the layer's input
  float* normed = nullptr;   // [T, D] scratch
  float* qkv = nullptr;      // [T, Q] rotated in place; before QK-norm where the model has it
  float* rotated = nullptr;  // [T, Q] scratch, with QK-norm only: q and k after norm and rotation (v's columns unused)
  float* attention = nullptr;       // [T, H E]
  float* log_sum_exp = nullptr;     // [T, H], null where backward is not wanted
  float* attention_out = nullptr;   // [M, H E] scratch, used only where rows are picked (else `attention` is read)
  float* middle = nullptr;          // [M, D] a of the equation; may be x itself where no rows are picked
  float* gate_up = nullptr;         // [M, 2F]
  float* swiglu = nullptr;          // [M, F] scratch
  float* y = nullptr;               // [M, D]; may be `middle` itself
  const float* key_bias = nullptr;  // [T] of this layer, as in kernels::Attention; null: no key is masked
};

// `picked`: the rows of [0, T) that go on after attention, ascending; empty data pointer: all. kv: this layer's pages.
void LayerForward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                  std::span<const int64_t> picked, std::byte* kv, const LayerActivations& activations);

// The parts of LayerForward that a backward pass repeats where activations are not kept, with the same bits: from x to
// gate_up, and from `middle` [rows, D] to gate_up. `swiglu` and `y` are not used.
void ForwardUpToGateUp(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                       std::span<const int64_t> picked, std::byte* kv, const LayerActivations& activations);
void ForwardGateUp(const ComputeWeights::Impl& weights, int layer, int64_t rows, const LayerActivations& activations);

// Scratch of the backward pass, at least as large as said.
struct LayerScratch {
  float* normed = nullptr;         // [T, D]
  float* d_normed = nullptr;       // [T, D]
  float* inverse_rms = nullptr;    // [T]
  float* rotated = nullptr;        // [T, Q], with QK-norm only
  float* d_rotated = nullptr;      // [T, Q], with QK-norm only
  float* d_qkv = nullptr;          // [T, Q]
  float* attention_out = nullptr;  // [M, H E], where rows are picked
  float* d_attention = nullptr;    // [T, H E]
  float* d_picked = nullptr;       // [M, max(D, H E)], where rows are picked
  float* swiglu = nullptr;         // [M, F]
  float* d_swiglu = nullptr;       // [M, F]
  float* d_gate_up = nullptr;      // [M, 2F]
};

// Gradients of one layer's parameters inside a flat gradient array; null where the model has no such parameter.
struct LayerGradients {
  LayerGradients(const ParameterLayout& layout, int layer, float* gradients);
  float *input_norm, *post_attention_norm, *q_norm, *k_norm;
  float *q, *k, *v, *o, *gate, *up, *down;
  float *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias;
};

// dx [T, D] holds d loss / d y in its first M rows and receives d loss / d x. `activations` are those of the forward
// pass (its scratch members are not read).
void LayerBackward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                   std::span<const int64_t> picked, const LayerActivations& activations, const LayerScratch& scratch,
                   const LayerGradients& gradients, float* dx);

// Rows of logits that stand in memory at a time while training. A function of the vocabulary alone, so that gradients
// never depend on the batch around a row.
int64_t LogitRows(int64_t vocab);

// kernels::RmsNormBackward over whole rows, dw summed range by range.
void NormBackward(const kernels::KernelContext& ctx, std::span<const RowRange> sums, const float* x, int64_t ldx,
                  const float* w, const float* inverse_rms, const float* dy, int64_t lddy, int64_t d,
                  bool accumulate_dx, float* dx, int64_t lddx, float* dw);

// out[i] = x[rows[i]], rows of `width`.
void GatherRows(const float* x, std::span<const int64_t> rows, int64_t width, float* out);

}  // namespace hone::model
