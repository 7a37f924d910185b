// Makes snapshots from fp32 masters, and reads them.
#pragma once

#include <memory>

#include "model/model.h"
#include "weight_sync/weight_channel.h"

namespace hone {

// A copy of `masters` as ComputeWeights of `dtype` read them, hashed: matrices in `dtype` (bf16: rounded to nearest
// even, as the kernels round), vectors (norms and biases) in fp32 always, because the ops take them so.
// version.root_hash may be "" where dtype is fp32: the content hash is it.
std::shared_ptr<const WeightSnapshot> MakeSnapshot(const kernels::KernelContext& context,
                                                   const model::ModelConfig& config, const model::FlatTensor& masters,
                                                   kernels::DType dtype, WeightVersion version, ModelFiles files);

// The other way: what a receiver's ComputeWeights read, in fp32. INVALID_ARGUMENT: a tensor does not fit the model.
absl::StatusOr<model::FlatTensor> ValuesOf(const kernels::KernelContext& context, const model::ModelConfig& config,
                                           const WeightSnapshot& snapshot);

}  // namespace hone
