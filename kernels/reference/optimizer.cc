#include <cmath>

#include "kernels/reference/reference.h"

namespace hone::kernels::reference {

double SumOfSquares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

void AdamW(const AdamWParams& params, int64_t n, const float* gradient, float* weight, float* m, float* v) {
  const double lr = params.learning_rate, b1 = params.beta1, b2 = params.beta2;
  for (int64_t i = 0; i < n; ++i) {
    const double g = static_cast<double>(gradient[i]) * params.gradient_scale;
    const double mi = b1 * m[i] + (1 - b1) * g;
    const double vi = b2 * v[i] + (1 - b2) * g * g;
    const double denominator = std::sqrt(vi) / std::sqrt(params.bias_correction2) + params.epsilon;
    const double decayed = weight[i] - lr * params.weight_decay * weight[i];
    weight[i] = static_cast<float>(decayed - lr / params.bias_correction1 * mi / denominator);
    m[i] = static_cast<float>(mi);
    v[i] = static_cast<float>(vi);
  }
}

}  // namespace hone::kernels::reference
