// Tiny models, batches and a plain double-precision forward pass for the tests of model/.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "model/model.h"

namespace hone::model {

struct NamedConfig {
  std::string name;
  ModelConfig config;
};

// One model of every shape of layer: GQA, biases, QK-norm with a head dim of its own, tied and untied heads.
std::vector<NamedConfig> TinyConfigs(int hidden, int heads, int kv_heads, int head_dim, int ffn, int vocab, int layers);

// RandomParameters with larger matrices, and norms and biases that are no longer ones and zeros.
FlatTensor LivelyParameters(const ModelConfig& config, uint64_t seed);

std::vector<int32_t> RandomTokens(std::mt19937* random, int count, int vocab);

// Sequences packed with next-token targets; a sequence's last row has none, nor do its first `unpredicted` rows.
PackedSequences Pack(const std::vector<std::vector<int32_t>>& sequences, int unpredicted = 0);

// Log-probs and entropies of the rows with targets, in row order, computed in double by plain loops from the formulas
// of the papers. Rope scaling kNone only, no shared prefixes. `parameters` as ParameterLayout.
struct Predictions {
  std::vector<double> logprobs, entropies;
};
Predictions ReferencePredict(const ModelConfig& config, const std::vector<double>& parameters,
                             const PackedSequences& batch, double temperature);

}  // namespace hone::model
