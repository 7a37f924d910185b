// The ops of kernels/ops.h as plain loops over row-major arrays, accumulated in double: written for reading, and what
// every backend is tested against. Operands that the ops round to a dtype are rounded here too. Same names, shapes and
// meaning as in ops.h; weights are plain w [N, K], keys and values plain [T, K, E].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace hone::kernels::reference {

// x as an operand of `dtype`: itself, or the nearest bf16.
float Rounded(float x, DType dtype);

void Gemm(const float* a, int64_t lda, int64_t m, const float* w, int64_t n, int64_t k, DType dtype, const float* bias,
          bool accumulate, float* c, int64_t ldc);
void GemmWeightGradient(const float* dy, int64_t ld_dy, const float* x, int64_t ld_x, int64_t m, int64_t n, int64_t k,
                        DType dtype, float* dw);
void BiasGradient(const float* dy, int64_t ld_dy, int64_t m, int64_t n, float* db);

void RmsNorm(const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows, int64_t d, float* y, int64_t ldy,
             float* inverse_rms);
void RmsNormBackward(const float* x, int64_t ldx, const float* w, const float* inverse_rms, const float* dy,
                     int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx, int64_t lddx, float* dw);

void SwiGlu(const float* gate_up, int64_t rows, int64_t f, float* y);
void SwiGluBackward(const float* gate_up, const float* dy, int64_t rows, int64_t f, float* dgate_up);

void Rope(float* x, int64_t ldx, int64_t rows, int heads, int head_dim, const int32_t* positions,
          const float* cos_table, const float* sin_table, bool inverse);

void EmbeddingGather(const float* table, int64_t d, DType dtype, const int32_t* ids, int64_t rows, float* y);
void EmbeddingGradient(const float* dy, const int32_t* ids, int64_t rows, int64_t d, float* dtable);

// Causal attention within each sequence s = rows [starts[s], starts[s + 1]).
void Attention(DType dtype, int heads, int kv_heads, int head_dim, float scale, const float* q, int64_t ldq,
               const float* k, const float* v, int64_t ldkv, std::span<const int64_t> starts, float* o,
               float* log_sum_exp, const float* key_bias = nullptr);
void AttentionBackward(DType dtype, int heads, int kv_heads, int head_dim, float scale, const float* q, int64_t ldq,
                       const float* k, const float* v, int64_t ldkv, const float* d_o, std::span<const int64_t> starts,
                       float* dq, float* dk, float* dv, const float* key_bias = nullptr);

void LogProb(const float* logits, int64_t ld, int64_t rows, int64_t vocab, float temperature, const int32_t* targets,
             float* logprob, float* entropy, float* log_normalizer);
void LogProbBackward(float* logits, int64_t ld, int64_t rows, int64_t vocab, float temperature, const int32_t* targets,
                     const float* d_logprob, const float* d_entropy);

// The distribution that Sample draws from: probabilities [vocab] after temperature and filters.
std::vector<double> SamplingDistribution(const float* logits, int64_t vocab, const SamplingParams& params,
                                         const uint8_t* banned);

double SumOfSquares(const float* x, int64_t n);
void AdamW(const AdamWParams& params, int64_t n, const float* gradient, float* weight, float* m, float* v);

}  // namespace hone::kernels::reference
