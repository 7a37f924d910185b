// Soft-max pieces of one instruction path: log-prob partials and gradients, exponentials for sampling.
#include "kernels/cpu/isa/parts.h"

namespace hone::kernels::cpu::HONE_ISA {
namespace {

// Where e^x is 0 (see Exp), x e^x is too: -inf logits (banned tokens) leave no NaN behind.
inline V ZeroBelowExp(V x, V value) { return IfLess(x, Set1(-87.33f), Zero(), value); }

inline V Scaled(const float* x, int64_t n, int64_t i, float inverse_temperature, float fill) {
  if (i + kLanes <= n) return Mul(Load(x + i), Set1(inverse_temperature));
  const int width = static_cast<int>(n - i);
  return FillFrom(Mul(LoadN(x + i, width), Set1(inverse_temperature)), width, fill);
}

}  // namespace

void SoftmaxPartial(const float* x, int64_t n, float inverse_temperature, float* max, float* sum, float* weighted) {
  const float lowest = -__builtin_inff();
  V high = Set1(lowest);
  for (int64_t i = 0; i < n; i += kLanes) high = Max(high, Scaled(x, n, i, inverse_temperature, lowest));
  *max = MaxLanes(high);
  *sum = *weighted = 0.0f;
  if (*max == lowest) {  // no mass, unless a NaN hides behind the -inf: the sum then says so
    V total = Zero();
    for (int64_t i = 0; i < n; i += kLanes) total = Add(total, Exp(Scaled(x, n, i, inverse_temperature, lowest)));
    *sum = SumLanes(total);
    return;
  }
  const V top = Set1(*max);
  V total = Zero(), moment = Zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const V below = Sub(Scaled(x, n, i, inverse_temperature, lowest), top);
    const V e = Exp(below);
    total = Add(total, e);
    moment = Add(moment, ZeroBelowExp(below, Mul(below, e)));
  }
  *sum = SumLanes(total);
  *weighted = SumLanes(moment);
}

void LogProbGradient(float* x, int64_t n, float inverse_temperature, float log_normalizer, float entropy,
                     float d_logprob, float d_entropy) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const V logp = Sub(Scaled(x, n, i, inverse_temperature, 0.0f), Set1(log_normalizer));
    const V p = Mul(Exp(logp), Set1(-inverse_temperature));
    const V outer = Fma(Set1(d_entropy), Add(logp, Set1(entropy)), Set1(d_logprob));
    const V g = ZeroBelowExp(logp, Mul(p, outer));
    if (i + kLanes <= n) {
      Store(x + i, g);
    } else {
      StoreN(x + i, g, static_cast<int>(n - i));
    }
  }
}

void Exponentials(const float* x, int64_t n, float max, float inverse_temperature, float* e) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int width = static_cast<int>(MinOf(kLanes, n - i));
    StoreN(e + i, Exp(Mul(Sub(LoadN(x + i, width), Set1(max)), Set1(inverse_temperature))), width);
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
