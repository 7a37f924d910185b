#include "kernels/reference/reference.h"

namespace hone::kernels::reference {

void Rope(float* x, int64_t ldx, int64_t rows, int heads, int head_dim, const int32_t* positions,
          const float* cos_table, const float* sin_table, bool inverse) {
  const int half = head_dim / 2;
  for (int64_t t = 0; t < rows; ++t) {
    for (int h = 0; h < heads; ++h) {
      float* head = x + t * ldx + int64_t{h} * head_dim;
      for (int i = 0; i < half; ++i) {
        const double c = cos_table[int64_t{positions[t]} * half + i];
        const double s = (inverse ? -1.0 : 1.0) * sin_table[int64_t{positions[t]} * half + i];
        const double a = head[i], b = head[i + half];
        head[i] = static_cast<float>(a * c - b * s);
        head[i + half] = static_cast<float>(b * c + a * s);
      }
    }
  }
}

}  // namespace hone::kernels::reference
