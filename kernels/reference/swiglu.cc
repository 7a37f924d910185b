#include <cmath>

#include "kernels/reference/reference.h"

namespace hone::kernels::reference {

void SwiGlu(const float* gate_up, int64_t rows, int64_t f, float* y) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < f; ++i) {
      const double gate = gate_up[t * 2 * f + i], up = gate_up[t * 2 * f + f + i];
      y[t * f + i] = static_cast<float>(gate / (1.0 + std::exp(-gate)) * up);
    }
  }
}

void SwiGluBackward(const float* gate_up, const float* dy, int64_t rows, int64_t f, float* dgate_up) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < f; ++i) {
      const double gate = gate_up[t * 2 * f + i], up = gate_up[t * 2 * f + f + i], d = dy[t * f + i];
      const double sigmoid = 1.0 / (1.0 + std::exp(-gate));
      dgate_up[t * 2 * f + i] = static_cast<float>(d * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)));
      dgate_up[t * 2 * f + f + i] = static_cast<float>(d * gate * sigmoid);
    }
  }
}

}  // namespace hone::kernels::reference
