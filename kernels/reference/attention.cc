#include <cmath>
#include <vector>

#include "kernels/reference/reference.h"

namespace hone::kernels::reference {
namespace {

// Row-major access to one head of [T, heads, E].
struct Head {
  const float* data;
  int64_t ld;
  DType dtype;
  double operator()(int64_t t, int64_t e) const { return Rounded(data[t * ld + e], dtype); }
};

double Dot(const Head& a, int64_t i, const Head& b, int64_t j, int head_dim) {
  double sum = 0;
  for (int e = 0; e < head_dim; ++e) sum += a(i, e) * b(j, e);
  return sum;
}

// Soft-max of the scores of query t over keys [0, t]; returns the log-sum-exp. bias [t + 1] may be null; it does not
// count for key t.
double Probabilities(const Head& q, const Head& k, int64_t t, int head_dim, double scale, const float* bias,
                     std::vector<double>* p) {
  p->resize(static_cast<size_t>(t) + 1);
  double max = -INFINITY;
  for (int64_t j = 0; j <= t; ++j) {
    double& score = (*p)[static_cast<size_t>(j)];
    score = scale * Dot(q, t, k, j, head_dim);
    if (bias != nullptr && j < t) score += bias[j];
    max = std::fmax(max, score);
  }
  double sum = 0;
  for (double& x : *p) sum += x = std::exp(x - max);
  for (double& x : *p) x /= sum;
  return max + std::log(sum);
}

}  // namespace

void Attention(DType dtype, int heads, int kv_heads, int head_dim, float scale, const float* q, int64_t ldq,
               const float* k, const float* v, int64_t ldkv, std::span<const int64_t> starts, float* o,
               float* log_sum_exp, const float* key_bias) {
  std::vector<double> p;
  for (size_t s = 0; s + 1 < starts.size(); ++s) {
    for (int h = 0; h < heads; ++h) {
      const int kv = h / (heads / kv_heads);
      const Head qh{q + starts[s] * ldq + int64_t{h} * head_dim, ldq, dtype};
      const Head kh{k + starts[s] * ldkv + int64_t{kv} * head_dim, ldkv, dtype};
      const Head vh{v + starts[s] * ldkv + int64_t{kv} * head_dim, ldkv, dtype};
      for (int64_t t = 0; t < starts[s + 1] - starts[s]; ++t) {
        const int64_t row = (starts[s] + t) * heads + h;
        const double lse =
            Probabilities(qh, kh, t, head_dim, scale, key_bias == nullptr ? nullptr : key_bias + starts[s], &p);
        if (log_sum_exp != nullptr) log_sum_exp[row] = static_cast<float>(lse);
        for (int e = 0; e < head_dim; ++e) {
          double sum = 0;
          for (int64_t j = 0; j <= t; ++j) sum += p[static_cast<size_t>(j)] * vh(j, e);
          o[row * head_dim + e] = static_cast<float>(sum);
        }
      }
    }
  }
}

// dv_j = sum_t p_tj do_t; dp_tj = do_t . v_j; ds_tj = p_tj (dp_tj - sum_i p_ti dp_ti) scale; dq_t = sum_j ds_tj k_j;
// dk_j = sum_t ds_tj q_t; dk and dv over all heads of the kv head.
void AttentionBackward(DType dtype, int heads, int kv_heads, int head_dim, float scale, const float* q, int64_t ldq,
                       const float* k, const float* v, int64_t ldkv, const float* d_o, std::span<const int64_t> starts,
                       float* dq, float* dk, float* dv, const float* key_bias) {
  std::vector<double> p, dp;
  for (size_t s = 0; s + 1 < starts.size(); ++s) {
    const int64_t tokens = starts[s + 1] - starts[s];
    for (int kv = 0; kv < kv_heads; ++kv) {
      const int64_t kv_at = starts[s] * ldkv + int64_t{kv} * head_dim;
      const Head kh{k + kv_at, ldkv, dtype}, vh{v + kv_at, ldkv, dtype};
      std::vector<double> dk_sum(static_cast<size_t>(tokens * head_dim)), dv_sum(dk_sum.size());
      for (int h = kv * (heads / kv_heads); h < (kv + 1) * (heads / kv_heads); ++h) {
        const int64_t q_at = starts[s] * ldq + int64_t{h} * head_dim;
        const Head qh{q + q_at, ldq, dtype};
        const Head doh{d_o + (starts[s] * heads + h) * head_dim, int64_t{heads} * head_dim, DType::kF32};
        for (int64_t t = 0; t < tokens; ++t) {
          Probabilities(qh, kh, t, head_dim, scale, key_bias == nullptr ? nullptr : key_bias + starts[s], &p);
          dp.resize(p.size());
          double mean = 0;
          for (size_t j = 0; j < p.size(); ++j)
            mean += p[j] * (dp[j] = Dot(doh, t, vh, static_cast<int64_t>(j), head_dim));
          for (int e = 0; e < head_dim; ++e) {
            double sum = 0;
            for (size_t j = 0; j < p.size(); ++j) {
              const double ds = p[j] * (dp[j] - mean) * scale;
              const size_t at = j * static_cast<size_t>(head_dim) + static_cast<size_t>(e);
              sum += ds * kh(static_cast<int64_t>(j), e);
              dk_sum[at] += ds * qh(t, e);
              dv_sum[at] += p[j] * doh(t, e);
            }
            dq[q_at + t * ldq + e] = static_cast<float>(sum);
          }
        }
      }
      for (int64_t j = 0; j < tokens; ++j) {
        for (int e = 0; e < head_dim; ++e) {
          dk[kv_at + j * ldkv + e] = static_cast<float>(dk_sum[static_cast<size_t>(j * head_dim + e)]);
          dv[kv_at + j * ldkv + e] = static_cast<float>(dv_sum[static_cast<size_t>(j * head_dim + e)]);
        }
      }
    }
  }
}

}  // namespace hone::kernels::reference
