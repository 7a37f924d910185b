// The backward pass of attention_backward.cc for bf16 on AMX tiles: same steps, query blocks of 64; dO, P and dS are
// rounded to bf16 as operands of the products, sums stay fp32. S is that of the forward pass up to the order of its
// sum.
#pragma once

#include "kernels/cpu/isa/gemm_amx.h"
#include "kernels/cpu/isa/parts.h"

namespace hone::kernels::cpu::HONE_ISA {

// P and dS of one query row: attention_backward.cc.
void RowGradient(float* s, float* dp, int64_t visible, int64_t columns, float scale, float log_sum_exp, float dot,
                 const float* key_bias);

class BackwardOnTiles {
 public:
  explicit BackwardOnTiles(const AttentionBackwardTask& t)
      : t_(t),
        dim_(t.head_dim),
        wide_(RoundUp(dim_, 32)),
        keys_(RoundUp(t.tokens, 32)),
        dim_steps_(RoundUp((dim_ + 1) / 2, kStepAlign)),
        key_steps_(keys_ / 2) {
    free_ = t.scratch;
    k_panels_ = Take(keys_ * dim_steps_);
    v_panels_ = Take(keys_ * dim_steps_);
    k_columns_ = Take(wide_ * key_steps_);
    q_rows_ = Take(kQueries * dim_steps_);
    do_rows_ = Take(kQueries * dim_steps_);
    q_columns_ = Take(wide_ * kQueries / 2);
    do_columns_ = Take(wide_ * kQueries / 2);
    ds_rows_ = Take(kQueries * key_steps_);
    turned_ = Take(keys_ * kQueries / 2);
    s_ = reinterpret_cast<float*>(Take(kQueries * keys_));
    dp_ = reinterpret_cast<float*>(Take(kQueries * keys_));
    dk_ = reinterpret_cast<float*>(Take(keys_ * wide_));
    dv_ = reinterpret_cast<float*>(Take(keys_ * wide_));
  }

  void Run() {
    for (int64_t j = 0; j < keys_; j += kLanes) {
      const int valid = static_cast<int>(MaxOf(0, MinOf(kLanes, t_.tokens - j)));
      PackRowsBf16(t_.k + j * t_.ldkv, t_.ldkv, valid, dim_, dim_steps_, k_panels_ + j * dim_steps_);
      PackRowsBf16(t_.v + j * t_.ldkv, t_.ldkv, valid, dim_, dim_steps_, v_panels_ + j * dim_steps_);
    }
    PackColumnsBf16(t_.k, t_.ldkv, dim_, t_.tokens, key_steps_, k_columns_);
    Clear(reinterpret_cast<float*>(q_columns_), wide_ * kQueries / 2);  // panels beyond E stay zero
    Clear(reinterpret_cast<float*>(do_columns_), wide_ * kQueries / 2);
    Clear(dk_, keys_ * wide_);
    Clear(dv_, keys_ * wide_);
    for (int h = 0; h < t_.group; ++h) {
      for (int64_t begin = t_.first_query; begin < t_.tokens; begin += kQueries) Block(h, begin);
    }
    for (int64_t j = 0; j < t_.tokens; ++j) {
      for (int64_t e = 0; e < dim_; e += kLanes) {
        const int width = static_cast<int>(MinOf(kLanes, dim_ - e));
        StoreN(t_.dk + j * t_.ldkv + e, Load(dk_ + j * wide_ + e), width);
        StoreN(t_.dv + j * t_.ldkv + e, Load(dv_ + j * wide_ + e), width);
      }
    }
  }

 private:
  static constexpr int64_t kQueries = 64;

  static int64_t RoundUp(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
  static void Clear(float* p, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) Store(p + i, Zero());
  }
  uint32_t* Take(int64_t dwords) {
    uint32_t* p = reinterpret_cast<uint32_t*>(free_);
    free_ += dwords;
    return p;
  }

  void Block(int h, int64_t begin) {
    const int64_t rows = MinOf(kQueries, t_.tokens - begin), end = begin + rows, columns = RoundUp(end, 32);
    const int64_t row = begin - t_.first_query;
    const float* q = t_.q + row * t_.ldq + h * dim_;
    const float* d_o = t_.d_o + row * t_.ldo + h * dim_;
    const float* o = t_.o + row * t_.ldo + h * dim_;
    ConvertOperand(q, t_.ldq, rows, 0, kQueries, dim_, dim_steps_, q_rows_);
    ConvertOperand(d_o, t_.ldo, rows, 0, kQueries, dim_, dim_steps_, do_rows_);
    GemmOnTiles({q_rows_, 0, k_panels_, dim_steps_ * kLanes, kLanes, rows, columns, dim_steps_, s_, keys_, nullptr,
                 CMode::kStore});
    GemmOnTiles({do_rows_, 0, v_panels_, dim_steps_ * kLanes, kLanes, rows, columns, dim_steps_, dp_, keys_, nullptr,
                 CMode::kStore});
    for (int64_t i = 0; i < rows; ++i) {
      V dot = Zero();
      for (int64_t e = 0; e < dim_; e += kLanes) {
        const int width = static_cast<int>(MinOf(kLanes, dim_ - e));
        dot = Fma(LoadN(o + i * t_.ldo + e, width), RoundToBf16(LoadN(d_o + i * t_.ldo + e, width)), dot);
      }
      RowGradient(s_ + i * keys_, dp_ + i * keys_, begin + i + 1, columns, t_.scale,
                  t_.log_sum_exp[(row + i) * t_.ld_lse + h], SumLanes(dot), t_.key_bias);
    }
    // dQ = dS K
    const int64_t column_steps = columns / 2;
    ConvertOperand(dp_, keys_, rows, 0, kQueries, columns, column_steps, ds_rows_);
    GemmOnTiles({ds_rows_, 0, k_columns_, key_steps_ * kLanes, kLanes, rows, dim_, column_steps,
                 t_.dq + row * t_.ldq + h * dim_, t_.ldq, nullptr, CMode::kStore});
    // dK += dS^T Q, dV += P^T dO: pairs of queries are the steps.
    AddTransposed(dp_, rows, columns, q, t_.ldq, q_columns_, dk_);
    AddTransposed(s_, rows, columns, d_o, t_.ldo, do_columns_, dv_);
  }

  void AddTransposed(const float* weights, int64_t rows, int64_t columns, const float* x, int64_t ldx,
                     uint32_t* x_columns, float* sum) {
    constexpr int64_t kSteps = kQueries / 2;
    PackColumnsBf16(weights, keys_, columns, rows, kSteps, turned_);
    TransposeBlocks(turned_, columns / 16 * kSteps / 16);
    PackColumnsBf16(x, ldx, dim_, rows, kSteps, x_columns);
    GemmOnTiles({turned_, 0, x_columns, kSteps * kLanes, kLanes, columns, wide_, kSteps, sum, wide_, nullptr,
                 CMode::kContinue});
  }

  const AttentionBackwardTask& t_;
  const int64_t dim_, wide_, keys_, dim_steps_, key_steps_;
  float* free_;
  uint32_t *k_panels_, *v_panels_, *k_columns_, *q_rows_, *do_rows_, *q_columns_, *do_columns_, *ds_rows_, *turned_;
  float *s_, *dp_, *dk_, *dv_;
};

}  // namespace hone::kernels::cpu::HONE_ISA
