#include <cmath>

#include "kernels/reference/reference.h"

namespace hone::kernels::reference {
namespace {

// log sum exp of a row of logits / temperature.
double LogNormalizer(const float* x, int64_t vocab, double temperature) {
  double max = -INFINITY, sum = 0;
  for (int64_t j = 0; j < vocab; ++j) max = std::fmax(max, x[j] / temperature);
  for (int64_t j = 0; j < vocab; ++j) sum += std::exp(x[j] / temperature - max);
  return max + std::log(sum);
}

// -sum p log p; a probability of 0 adds nothing.
double Entropy(const float* x, int64_t vocab, double temperature, double log_normalizer) {
  double entropy = 0;
  for (int64_t j = 0; j < vocab; ++j) {
    const double log_p = x[j] / temperature - log_normalizer;
    if (std::exp(log_p) > 0) entropy -= std::exp(log_p) * log_p;
  }
  return entropy;
}

}  // namespace

void LogProb(const float* logits, int64_t ld, int64_t rows, int64_t vocab, float temperature, const int32_t* targets,
             float* logprob, float* entropy, float* log_normalizer) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = logits + r * ld;
    const double z = LogNormalizer(x, vocab, temperature);
    if (logprob != nullptr)
      logprob[r] = targets[r] < 0 ? 0.0f : static_cast<float>(x[targets[r]] / double{temperature} - z);
    if (entropy != nullptr) entropy[r] = static_cast<float>(Entropy(x, vocab, temperature, z));
    if (log_normalizer != nullptr) log_normalizer[r] = static_cast<float>(z);
  }
}

// d logprob / d x_j = (1[j = target] - p_j) / T;  d entropy / d x_j = -p_j (log p_j + entropy) / T.
void LogProbBackward(float* logits, int64_t ld, int64_t rows, int64_t vocab, float temperature, const int32_t* targets,
                     const float* d_logprob, const float* d_entropy) {
  for (int64_t r = 0; r < rows; ++r) {
    float* x = logits + r * ld;
    const double z = LogNormalizer(x, vocab, temperature);
    const double entropy = Entropy(x, vocab, temperature, z);
    for (int64_t j = 0; j < vocab; ++j) {
      const double log_p = x[j] / double{temperature} - z, p = std::exp(log_p);
      double g = 0;
      if (targets[r] >= 0) g += d_logprob[r] * ((j == targets[r] ? 1.0 : 0.0) - p);
      if (d_entropy != nullptr && p > 0) g -= d_entropy[r] * p * (log_p + entropy);
      x[j] = static_cast<float>(g / temperature);
    }
  }
}

}  // namespace hone::kernels::reference
