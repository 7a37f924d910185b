#include <cmath>
#include <vector>

#include "kernels/reference/reference.h"

namespace hone::kernels::reference {

void RmsNorm(const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows, int64_t d, float* y, int64_t ldy,
             float* inverse_rms) {
  for (int64_t t = 0; t < rows; ++t) {
    double squares = 0;
    for (int64_t i = 0; i < d; ++i) squares += static_cast<double>(x[t * ldx + i]) * x[t * ldx + i];
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(d) + epsilon);
    if (inverse_rms != nullptr) inverse_rms[t] = static_cast<float>(inverse);
    for (int64_t i = 0; i < d; ++i) y[t * ldy + i] = static_cast<float>(x[t * ldx + i] * inverse * w[i]);
  }
}

// With g = dy w: dx_i = r g_i - r^3 x_i (sum_j g_j x_j) / d, r the inverse root mean square; dw_i = sum over rows of
// dy_i x_i r.
void RmsNormBackward(const float* x, int64_t ldx, const float* w, const float* inverse_rms, const float* dy,
                     int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx, int64_t lddx, float* dw) {
  std::vector<double> dw_sum(dw, dw + d);
  for (int64_t t = 0; t < rows; ++t) {
    const double r = inverse_rms[t];
    double dot = 0;
    for (int64_t i = 0; i < d; ++i) dot += static_cast<double>(dy[t * lddy + i]) * w[i] * x[t * ldx + i];
    for (int64_t i = 0; i < d; ++i) {
      const double xi = x[t * ldx + i], dyi = dy[t * lddy + i];
      dw_sum[static_cast<size_t>(i)] += dyi * xi * r;
      const double g = r * dyi * w[i] - r * r * r * xi * dot / static_cast<double>(d);
      dx[t * lddx + i] = static_cast<float>(accumulate_dx ? dx[t * lddx + i] + g : g);
    }
  }
  for (int64_t i = 0; i < d; ++i) dw[i] = static_cast<float>(dw_sum[static_cast<size_t>(i)]);
}

}  // namespace hone::kernels::reference
