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

// What every layer of one forward pass has in common.
struct LayerBatch {
  int64_t rows = 0;                                       // T
  const int32_t* positions = nullptr;                     // [T]
  std::span<const kernels::AttentionSequence> sequences;  // queries
  // Rows whose keys and values are to be written: those of `sequences`, and (training) the end of a shared prefix once
  // more into each follower's own page.
  std::span<const kernels::AttentionSequence> kv_writes;
  kernels::KvLayout kv_layout;
  std::span<const kernels::PackedSegment> segments;  // for the backward pass
};

// Where one layer's activations go. All fp32, dense.
struct LayerActivations {
  const float* x = nullptr;  // [T, D] the layer's input
  float* normed = nullptr;   // [T, D] scratch
  float* qkv = nullptr;      // [T, Q] rotated in place; before QK-norm where the model has it
  float* rotated = nullptr;  // [T, Q] scratch, with QK-norm only: q and k after norm and rotation (v's columns unused)
  float* attention = nullptr;      // [T, H E]
  float* log_sum_exp = nullptr;    // [T, H], null where backward is not wanted
  float* attention_out = nullptr;  // [M, H E] scratch, used only where rows are picked (else `attention` is read)
  float* middle = nullptr;         // [M, D] a of the equation; may be x itself where no rows are picked
  float* gate_up = nullptr;        // [M, 2F]
  float* swiglu = nullptr;         // [M, F] scratch
  float* y = nullptr;              // [M, D]; may be `middle` itself
};

// `picked`: the rows of [0, T) that go on after attention, ascending; empty data pointer: all. kv: this layer's pages.
void LayerForward(const ComputeWeights::Impl& weights, int layer, const LayerBatch& batch,
                  std::span<const int64_t> picked, std::byte* kv, const LayerActivations& activations);

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

// out[i] = x[rows[i]], rows of `width`.
void GatherRows(const float* x, std::span<const int64_t> rows, int64_t width, float* out);

}  // namespace hone::model
