#include "kernels/reference/reference.h"

namespace hone::kernels::reference {

void EmbeddingGather(const float* table, int64_t d, DType dtype, const int32_t* ids, int64_t rows, float* y) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < d; ++i) y[t * d + i] = Rounded(table[ids[t] * d + i], dtype);
  }
}

void EmbeddingGradient(const float* dy, const int32_t* ids, int64_t rows, int64_t d, float* dtable) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < d; ++i) dtable[ids[t] * d + i] += dy[t * d + i];
  }
}

}  // namespace hone::kernels::reference
