// Rotary embedding tables, one routine for every backend (RoFormer, arXiv:2104.09864; scaling kinds as Hugging Face
// defines them).
//
// What a model was trained with are angles rounded to fp32: inverse frequency and angle are rounded to fp32 here as
// transformers rounds them, and only then are cosine and sine taken, in double, by functions of our own. Immutable,
// thread-safe.
#pragma once

#include <vector>

#include "kernels/tensor.h"
#include "kernels/thread_pool.h"
#include "model/config.h"

namespace hone::model {

class RopeTables {
 public:
  RopeTables(kernels::ThreadPool& pool, const ModelConfig& config);
  const float* cos() const { return cos_.data(); }  // [max_positions, E/2]
  const float* sin() const { return sin_.data(); }  // [max_positions, E/2]

 private:
  kernels::AlignedBuffer<float> cos_, sin_;
};

// Inverse frequencies [E/2] in radians per token, after scaling. kDynamicNtk changes nothing below max_positions, which
// is where sequences end here, so it is the plain rule.
std::vector<float> RopeInverseFrequencies(const ModelConfig& config);
// What cosine and sine are multiplied by: 1, but for YaRN (arXiv:2309.00071, eq. 22).
double RopeAttentionFactor(const ModelConfig& config);

}  // namespace hone::model
