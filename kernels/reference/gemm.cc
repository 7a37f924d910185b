#include "kernels/bf16.h"
#include "kernels/reference/reference.h"

namespace hone::kernels::reference {

float Rounded(float x, DType dtype) { return dtype == DType::kF32 ? x : RoundThroughBf16(x); }

void Gemm(const float* a, int64_t lda, int64_t m, const float* w, int64_t n, int64_t k, DType dtype, const float* bias,
          bool accumulate, float* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t e = 0; e < k; ++e)
        sum += static_cast<double>(Rounded(a[i * lda + e], dtype)) * Rounded(w[j * k + e], dtype);
      if (bias != nullptr) sum += bias[j];
      if (accumulate) sum += c[i * ldc + j];
      c[i * ldc + j] = static_cast<float>(sum);
    }
  }
}

void GemmWeightGradient(const float* dy, int64_t ld_dy, const float* x, int64_t ld_x, int64_t m, int64_t n, int64_t k,
                        DType dtype, float* dw) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t e = 0; e < k; ++e) {
      double sum = dw[j * k + e];
      for (int64_t i = 0; i < m; ++i) {
        sum += static_cast<double>(Rounded(dy[i * ld_dy + j], dtype)) * Rounded(x[i * ld_x + e], dtype);
      }
      dw[j * k + e] = static_cast<float>(sum);
    }
  }
}

void BiasGradient(const float* dy, int64_t ld_dy, int64_t m, int64_t n, float* db) {
  for (int64_t j = 0; j < n; ++j) {
    double sum = db[j];
    for (int64_t i = 0; i < m; ++i) sum += dy[i * ld_dy + j];
    db[j] = static_cast<float>(sum);
  }
}

}  // namespace hone::kernels::reference
