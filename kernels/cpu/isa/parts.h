// The functions of one instruction path, gathered in kTable (table.cc). Contracts: table.h.
#pragma once

#include "kernels/cpu/isa/gemm_micro.h"
#include "kernels/cpu/isa/table.h"
#include "kernels/cpu/isa/vec.h"

namespace hone::kernels::cpu::HONE_ISA {

void GemmF32(const GemmBlock& g, bool a_by_columns);
void GemmBf16(const GemmBlock& g, bool a_by_columns);
void ConvertOperand(const float* a, int64_t lda, int64_t m, int64_t begin, int64_t end, int64_t k, int64_t steps,
                    void* out);
void PackRowsF32(const float* w, int64_t ld, int valid, int64_t k, float* out);
void PackRowsBf16(const float* w, int64_t ld, int valid, int64_t k, int64_t steps, uint32_t* out);
void PackColumnsF32(const float* w, int64_t ld, int64_t columns, int64_t k, bool round, float* out);
void PackColumnsBf16(const float* w, int64_t ld, int64_t columns, int64_t k, int64_t steps, uint32_t* out);
void TransposeBlocks(uint32_t* blocks, int64_t count);
void ColumnSums(const float* x, int64_t ld, int64_t rows, int64_t n, float* sums);

void AttendTile(const AttentionTile& t);
void AttendBackward(const AttentionBackwardTask& t);

void RmsNormRows(const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows, int64_t d, float* y,
                 int64_t ldy, float* inverse_rms);
void RmsNormBackwardRows(const float* x, int64_t ldx, const float* w, const float* inverse_rms, const float* dy,
                         int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx, int64_t lddx, float* dw);
void SwiGluRow(const float* gate, const float* up, int64_t n, float* y);
void SwiGluBackwardRow(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup);
void RotateToken(float* x, int heads, int head_dim, const float* cos, const float* sin, bool inverse);
void AddTo(const float* x, int64_t n, float* y);
void RoundArrayToBf16(const float* x, int64_t n, uint16_t* y);
void ExpandBf16Array(const uint16_t* x, int64_t n, float* y);
double SquaresOf(const float* x, int64_t n);
void AdamWRange(const AdamWStep& s, int64_t n, const float* gradient, float* weight, float* m, float* v);

void SoftmaxPartial(const float* x, int64_t n, float inverse_temperature, float* max, float* sum, float* weighted);
void LogProbGradient(float* x, int64_t n, float inverse_temperature, float log_normalizer, float entropy,
                     float d_logprob, float d_entropy);
void Exponentials(const float* x, int64_t n, float max, float inverse_temperature, float* e);

}  // namespace hone::kernels::cpu::HONE_ISA
