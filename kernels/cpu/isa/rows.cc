// Norms, gates, rotations and element-wise work of one instruction path.
#include "kernels/cpu/isa/parts.h"

namespace hone::kernels::cpu::HONE_ISA {
namespace {

inline int Width(int64_t n, int64_t i) { return static_cast<int>(MinOf(kLanes, n - i)); }
inline V LoadUpTo(const float* p, int width) { return width == kLanes ? Load(p) : LoadN(p, width); }
inline void StoreUpTo(float* p, V x, int width) {
  if (width == kLanes) {
    Store(p, x);
  } else {
    StoreN(p, x, width);
  }
}

// sum of f(i) over a row, vectors at even places in one accumulator and at odd places in another.
template <class F>
inline float RowSum(int64_t d, F f) {
  V even = Zero(), odd = Zero();
  int64_t i = 0;
  for (; i + 2 * kLanes <= d; i += 2 * kLanes) {
    even = f(even, i, kLanes);
    odd = f(odd, i + kLanes, kLanes);
  }
  if (i < d) even = f(even, i, Width(d, i));
  if (i + kLanes < d) odd = f(odd, i + kLanes, Width(d, i + kLanes));
  return SumLanes(Add(even, odd));
}

inline float SqrtOf(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// 1 / (1 + e^-x)
inline V Sigmoid(V x) { return Div(Set1(1.0f), Add(Set1(1.0f), Exp(Sub(Zero(), x)))); }

}  // namespace

void RmsNormRows(const float* x, int64_t ldx, const float* w, float epsilon, int64_t rows, int64_t d, float* y,
                 int64_t ldy, float* inverse_rms) {
  for (int64_t t = 0; t < rows; ++t, x += ldx, y += ldy) {
    const float sum = RowSum(d, [x](V acc, int64_t i, int width) {
      const V v = LoadUpTo(x + i, width);
      return Fma(v, v, acc);
    });
    const float inverse = 1.0f / SqrtOf(sum / static_cast<float>(d) + epsilon);
    if (inverse_rms != nullptr) inverse_rms[t] = inverse;
    for (int64_t i = 0; i < d; i += kLanes) {
      const int width = Width(d, i);
      StoreUpTo(y + i, Mul(Mul(LoadUpTo(x + i, width), Set1(inverse)), LoadUpTo(w + i, width)), width);
    }
  }
}

void RmsNormBackwardRows(const float* x, int64_t ldx, const float* w, const float* inverse_rms, const float* dy,
                         int64_t lddy, int64_t rows, int64_t d, bool accumulate_dx, float* dx, int64_t lddx,
                         float* dw) {
  for (int64_t t = 0; t < rows; ++t, x += ldx, dy += lddy, dx += lddx) {
    // With g = dy w and s = sum(g x): dx = inverse g - inverse^3 s / d x.
    const float s = RowSum(d, [=](V acc, int64_t i, int width) {
      return Fma(Mul(LoadUpTo(dy + i, width), LoadUpTo(w + i, width)), LoadUpTo(x + i, width), acc);
    });
    const float inverse = inverse_rms[t];
    const V along_x = Set1(-(inverse * inverse * inverse) * s / static_cast<float>(d));
    for (int64_t i = 0; i < d; i += kLanes) {
      const int width = Width(d, i);
      const V xi = LoadUpTo(x + i, width), dyi = LoadUpTo(dy + i, width);
      StoreUpTo(dw + i, Fma(dyi, Mul(xi, Set1(inverse)), LoadUpTo(dw + i, width)), width);
      V g = Fma(along_x, xi, Mul(Mul(dyi, LoadUpTo(w + i, width)), Set1(inverse)));
      if (accumulate_dx) g = Add(LoadUpTo(dx + i, width), g);
      StoreUpTo(dx + i, g, width);
    }
  }
}

void SwiGluRow(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int width = Width(n, i);
    const V g = LoadUpTo(gate + i, width);
    StoreUpTo(y + i, Mul(Mul(g, Sigmoid(g)), LoadUpTo(up + i, width)), width);
  }
}

void SwiGluBackwardRow(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup) {
  const V one = Set1(1.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int width = Width(n, i);
    const V g = LoadUpTo(gate + i, width), u = LoadUpTo(up + i, width), d = LoadUpTo(dy + i, width);
    const V s = Sigmoid(g);
    // silu'(g) = s (1 + g (1 - s))
    const V slope = Mul(s, Fma(g, Sub(one, s), one));
    StoreUpTo(dgate + i, Mul(Mul(d, u), slope), width);
    StoreUpTo(dup + i, Mul(d, Mul(g, s)), width);
  }
}

void RotateToken(float* x, int heads, int head_dim, const float* cos, const float* sin, bool inverse) {
  const int half = head_dim / 2;
  for (int h = 0; h < heads; ++h, x += head_dim) {
    for (int i = 0; i < half; i += kLanes) {
      const int width = Width(half, i);
      const V a = LoadUpTo(x + i, width), b = LoadUpTo(x + half + i, width);
      const V c = LoadUpTo(cos + i, width);
      const V plain = LoadUpTo(sin + i, width);
      const V s = inverse ? Sub(Zero(), plain) : plain;
      StoreUpTo(x + i, Fma(Sub(Zero(), b), s, Mul(a, c)), width);
      StoreUpTo(x + half + i, Fma(a, s, Mul(b, c)), width);
    }
  }
}

void AddTo(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int width = Width(n, i);
    StoreUpTo(y + i, Add(LoadUpTo(y + i, width), LoadUpTo(x + i, width)), width);
  }
}

void RoundArrayToBf16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreBf16(y + i, Load(x + i));
  if (i < n) {
    uint16_t last[kLanes];
    StoreBf16(last, LoadN(x + i, Width(n, i)));
    for (int64_t j = i; j < n; ++j) y[j] = last[j - i];
  }
}

void ExpandBf16Array(const uint16_t* x, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, LoadBf16(x + i));
  if (i < n) {
    uint16_t last[kLanes] = {};
    for (int64_t j = i; j < n; ++j) last[j - i] = x[j];
    StoreN(y + i, LoadBf16(last), Width(n, i));
  }
}

double SquaresOf(const float* x, int64_t n) {
  D acc = ZeroDouble();
  for (int64_t i = 0; i < n; i += kLanes) acc = AddSquare(acc, LoadUpTo(x + i, Width(n, i)));
  double lanes[kLanes];
  StoreDouble(lanes, acc);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

void AdamWRange(const AdamWStep& s, int64_t n, const float* gradient, float* weight, float* m, float* v) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int width = Width(n, i);
    const V g = Mul(LoadUpTo(gradient + i, width), Set1(s.gradient_scale));
    const V mi = Fma(Set1(s.one_minus_beta1), g, Mul(Set1(s.beta1), LoadUpTo(m + i, width)));
    const V vi = Fma(Mul(Set1(s.one_minus_beta2), g), g, Mul(Set1(s.beta2), LoadUpTo(v + i, width)));
    const V denominator = Fma(Sqrt(vi), Set1(s.inverse_sqrt_correction2), Set1(s.epsilon));
    const V decayed = Mul(LoadUpTo(weight + i, width), Set1(s.decay));
    StoreUpTo(weight + i, Fma(Set1(-s.step_size), Div(mi, denominator), decayed), width);
    StoreUpTo(m + i, mi, width);
    StoreUpTo(v + i, vi, width);
  }
}

}  // namespace hone::kernels::cpu::HONE_ISA
