// How much memory the objects of model.h take, from the configuration alone: for saying so before anything is
// allocated.
//
// Exact for what they hold (memory_plan_test compares with the objects themselves); what a kernel's threads keep as
// scratch is an upper bound.
#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "model/config.h"
#include "model/model.h"

namespace hone::model {

// A FlatTensor: masters or gradients.
int64_t FlatTensorBytes(const ModelConfig& config);

// Matrices in `dtype`, norms and biases in fp32: how a version travels.
int64_t WeightVersionBytes(const ModelConfig& config, kernels::DType dtype);

// The largest parameter in fp32: what is in hand while weights pass one by one.
int64_t LargestTensorBytes(const ModelConfig& config);

struct ComputeWeightsBytes {
  int64_t packed = 0;   // ComputeWeights::size_bytes: packed matrices, transposed ones too for training
  int64_t rope = 0;     // cosines and sines of every position
  int64_t staging = 0;  // rows of a fused matrix while its parts come in, kept for the next loading
  int64_t total() const { return packed + rope + staging; }
};
ComputeWeightsBytes PlanComputeWeights(const ModelConfig& config, kernels::DType dtype, bool for_training);

// The largest batch that a TrainingModel sees.
struct TrainingBatch {
  int64_t rows = 0;       // tokens
  int64_t predicted = 0;  // of these, rows with a target
  int64_t sequences = 1;
  bool sums_apart = false;   // PackedSequences::sum_starts are given
  bool masked_keys = false;  // PackedSequences::masked_keys are given
};
// What TrainingModel::size_bytes is after Forward and Backward of `kept` and Forward without keeping of `plain` (no
// rows: there was none).
int64_t TrainingModelBytes(const ModelConfig& config, kernels::DType dtype, const TrainingBatch& kept,
                           const TrainingBatch& plain, Recompute recompute = Recompute::kNone);
// What Forward(keep) keeps for each token: TrainingModel::ActivationBytesPerToken.
int64_t ActivationBytesPerToken(const ModelConfig& config, Recompute recompute = Recompute::kNone);
// Scratch of the kernels in such passes: packed operands, and each thread's of attention over `longest` tokens. The
// kernels keep it, so it comes once for a process, whatever the number of models.
int64_t TrainingScratchBytes(const ModelConfig& config, kernels::DType dtype, const TrainingBatch& batch,
                             int64_t longest, int threads);

// An InferenceModel after Forward of `rows` rows of which `output_rows` are wanted.
int64_t InferenceModelBytes(const ModelConfig& config, int64_t rows, int64_t output_rows);

// What KvCache takes for each token; its pages are KvCache::BytesPerPage.
int64_t KvBytesPerToken(const ModelConfig& config, kernels::DType dtype);

}  // namespace hone::model
