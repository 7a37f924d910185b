// What is inside ComputeWeights: the packed matrices that layers read.
//
// q, k and v projections are one matrix, gate and up another: fewer, wider products, and the same bits, because an
// output element of Gemm depends on its own weight row alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/rope.h"

namespace hone::model {

struct LayerWeights {
  kernels::PackedMatrix qkv;      // [(H + 2K) E, D]: q rows, then k, then v
  kernels::PackedMatrix o;        // [D, H E]
  kernels::PackedMatrix gate_up;  // [2F, D]: gate rows, then up
  kernels::PackedMatrix down;     // [D, F]
  // W^T of the above, for input gradients; empty unless for_training.
  kernels::PackedMatrix qkv_transposed, o_transposed, gate_up_transposed, down_transposed;
  std::vector<float> qkv_bias, o_bias, gate_up_bias, down_bias;  // empty where the model has none
  std::vector<float> input_norm, post_attention_norm;            // [D]
  std::vector<float> q_norm, k_norm;                             // [E], empty without QK-norm

  const float* qkv_bias_or_null() const { return qkv_bias.empty() ? nullptr : qkv_bias.data(); }
  const float* o_bias_or_null() const { return o_bias.empty() ? nullptr : o_bias.data(); }
  const float* gate_up_bias_or_null() const { return gate_up_bias.empty() ? nullptr : gate_up_bias.data(); }
  const float* down_bias_or_null() const { return down_bias.empty() ? nullptr : down_bias.data(); }
};

struct ComputeWeights::Impl {
  Impl(const kernels::KernelContext& context, const ModelConfig& model_config, kernels::DType compute_dtype,
       bool training);

  const kernels::KernelContext& ctx;
  const ModelConfig config;
  const kernels::DType dtype;
  const bool for_training;
  const ParameterLayout layout;
  const RopeTables rope;

  kernels::PackedMatrix embedding;           // [V, D]
  kernels::PackedMatrix separate_lm_head;    // [V, D], empty where tied
  kernels::PackedMatrix lm_head_transposed;  // [D, V], for training
  std::vector<float> final_norm;             // [D]
  std::vector<LayerWeights> layers;

  const kernels::PackedMatrix& lm_head() const { return config.tied_embeddings ? embedding : separate_lm_head; }
  // True once every parameter has been loaded.
  bool complete() const { return loaded_count == static_cast<int64_t>(layout.entries().size()); }
  void Load(const ParameterInfo& entry, const float* values);

 private:
  // Rows of a fused matrix that wait for the others.
  struct Fused {
    kernels::AlignedBuffer<float> rows;
    uint32_t parts = 0;  // bit i: part i is there
  };
  void LoadLayer(int layer, std::string_view name, const float* values, int64_t size);
  void LoadMatrix(const float* values, int64_t n, int64_t k, kernels::PackedMatrix* packed,
                  kernels::PackedMatrix* transposed);
  void LoadFusedPart(int key, int part, int parts, int64_t first_row, int64_t rows, int64_t total_rows,
                     const float* values, kernels::PackedMatrix* packed, kernels::PackedMatrix* transposed);

  std::map<int, Fused> pending;
  std::vector<kernels::AlignedBuffer<float>> spare;  // memory of fused matrices that are done
  std::vector<bool> loaded;
  int64_t loaded_count = 0;
};

}  // namespace hone::model
