// AdamW over stored moments: a block's moments become fp32, take their step, and are rounded again.
//
// kF8 is a floating-point number relative to its block's largest magnitude, with exponents from 2^-15 to 2^0:
//   first moment: sign, then 0 for zero, else 1 + (8 (exponent + 15) + mantissa), 3 bits of mantissa;
//   second moment: its square root (which halves the range), 0 for zero, else 1 + (16 (exponent + 15) + mantissa).
// (Blocks with a scale each, and a signed and an unsigned code: after Dettmers et al., arXiv:2110.02861.)
//
// Rounding is stochastic, by a hash of (key, element): to nearest, steps smaller than half of a last bit would be lost,
// and a second moment with beta2 = 0.999 would never fall. In kF8 a second moment that is not 0 is never rounded to 0,
// which would make its element's next step as large as 1 / epsilon allows.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/bf16.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

constexpr float kLeast = 0x1p-15f;  // of the magnitudes that kF8 has beside 0
constexpr int64_t kBlocks = 32;     // fewer are not worth a thread

void CheckView(MomentFormat format, MomentView view, int64_t n) {
  HONE_CHECK(n >= 0 && (n == 0 || view.values != nullptr)) << "moments of " << n << " elements";
  HONE_CHECK(n == 0 || format != MomentFormat::kF8 || view.scales != nullptr) << "8-bit moments without scales";
}

// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014).
uint64_t Hash(uint64_t key, int64_t element) {
  uint64_t z = key + static_cast<uint64_t>(element) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// A magnitude in [0, 1] as a code with `kMantissa` bits; `random` decides between neighbours.
template <int kMantissa>
struct Code {
  static constexpr int kShift = 23 - kMantissa;
  static constexpr uint32_t kBase = uint32_t{127 - 15} << kMantissa;
  static uint8_t Of(float magnitude, uint32_t random) {
    const uint32_t bits = std::bit_cast<uint32_t>(magnitude) + (random & ((uint32_t{1} << kShift) - 1));
    return static_cast<uint8_t>((bits >> kShift) - kBase + 1);
  }
  static float Value(uint8_t code) { return code == 0 ? 0.0f : std::bit_cast<float>((code - 1 + kBase) << kShift); }
};
using FirstCode = Code<3>;
using SecondCode = Code<4>;

// x / scale for 0 <= x <= scale, at most 1.
float Ratio(float x, float scale) {
  const float ratio = x / scale;
  return ratio <= 1.0f ? ratio : 1.0f;
}

uint8_t EncodeFirst(float x, float scale, uint32_t random) {
  const float magnitude = Ratio(std::fabs(x), scale);
  const uint8_t sign = std::signbit(x) ? 0x80 : 0;
  if (magnitude >= kLeast) return sign | FirstCode::Of(magnitude, random);
  // Between 0 and the least one: in proportion, too, by as many bits as fp32 holds.
  return static_cast<float>(random >> 8) < magnitude * (0x1p24f / kLeast) ? sign | 1 : 0;
}

uint8_t EncodeSecond(float root, float scale, uint32_t random) {
  if (root == 0.0f) return 0;
  return SecondCode::Of(std::max(Ratio(root, scale), kLeast), random);
}

// What is not finite stays as it is, and what is finite stays so.
uint16_t RoundStochastically(float x, uint32_t random) {
  if (!std::isfinite(x)) return FloatToBf16(x);
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = (bits & 0x7fffffff) + (random & 0xffff);
  return static_cast<uint16_t>(bits >> 31 << 15 | std::min<uint32_t>(magnitude >> 16, 0x7f7f));
}

// The largest magnitude; NaN where there is one.
float Largest(const float* x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    largest = std::isnan(magnitude) || magnitude > largest ? magnitude : largest;
    if (std::isnan(largest)) return largest;
  }
  return largest;
}

// One block of up to kMomentBlock elements, the first of which is element `begin` of its parameter.
class Block {
 public:
  Block(MomentFormat format, Moment moment, MomentView view, int64_t begin, int64_t n)
      : format_(format), moment_(moment), n_(n), begin_(begin), view_(view) {}

  void Read(float* out) const {
    if (format_ == MomentFormat::kBf16) {
      for (int64_t i = 0; i < n_; ++i) out[i] = Bf16ToFloat(bf16()[i]);
      return;
    }
    const float scale = *this->scale();
    if (moment_ == Moment::kFirst) {
      for (int64_t i = 0; i < n_; ++i) {
        const float value = scale * FirstCode::Value(codes()[i] & 0x7f);
        out[i] = codes()[i] & 0x80 ? -value : value;
      }
    } else {
      for (int64_t i = 0; i < n_; ++i) {
        const float root = scale * SecondCode::Value(codes()[i]);
        out[i] = root * root;
      }
    }
  }

  // May change x.
  void Write(uint64_t key, float* x) {
    const int shift = moment_ == Moment::kFirst ? 0 : 32;  // halves of one hash
    const auto random = [&](int64_t i) { return static_cast<uint32_t>(Hash(key, begin_ + i) >> shift); };
    if (format_ == MomentFormat::kBf16) {
      for (int64_t i = 0; i < n_; ++i) bf16()[i] = RoundStochastically(x[i], random(i));
      return;
    }
    // An infinite moment must not take its whole block along: the largest number stands for it.
    constexpr float kMost = std::numeric_limits<float>::max();
    for (int64_t i = 0; i < n_; ++i) {
      if (std::isinf(x[i])) x[i] = std::copysign(kMost, x[i]);
      if (moment_ == Moment::kSecond) x[i] = std::sqrt(x[i]);
    }
    const float scale = *this->scale() = Largest(x, n_);
    if (scale == 0.0f) {
      std::fill_n(codes(), n_, uint8_t{0});
      return;
    }
    for (int64_t i = 0; i < n_; ++i) {
      codes()[i] =
          moment_ == Moment::kFirst ? EncodeFirst(x[i], scale, random(i)) : EncodeSecond(x[i], scale, random(i));
    }
  }

 private:
  uint16_t* bf16() const { return static_cast<uint16_t*>(view_.values) + begin_; }
  uint8_t* codes() const { return static_cast<uint8_t*>(view_.values) + begin_; }
  float* scale() const { return view_.scales + begin_ / kMomentBlock; }

  const MomentFormat format_;
  const Moment moment_;
  const int64_t n_, begin_;
  const MomentView view_;
};

}  // namespace

void ReadMoments(const KernelContext& ctx, MomentFormat format, Moment moment, MomentView view, int64_t n, float* out) {
  CheckView(format, view, n);
  if (format == MomentFormat::kF32) {
    std::copy_n(static_cast<const float*>(view.values), n, out);
    return;
  }
  ctx.pool().ParallelFor(cpu::CeilDiv(n, kMomentBlock), kBlocks, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kMomentBlock;
      Block(format, moment, view, begin, std::min(kMomentBlock, n - begin)).Read(out + begin);
    }
  });
}

void AdamWStored(const KernelContext& ctx, const AdamWParams& params, int64_t n, const float* gradient, float* weight,
                 MomentFormat format, MomentView m, MomentView v, uint64_t rounding_key) {
  CheckView(format, m, n);
  CheckView(format, v, n);
  if (format == MomentFormat::kF32) {
    AdamW(ctx, params, n, gradient, weight, static_cast<float*>(m.values), static_cast<float*>(v.values));
    return;
  }
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const cpu::AdamWStep step = cpu::MakeAdamWStep(params);
  ctx.pool().ParallelFor(cpu::CeilDiv(n, kMomentBlock), kBlocks, [&](int64_t first, int64_t last) {
    float m_values[kMomentBlock], v_values[kMomentBlock];
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kMomentBlock, count = std::min(kMomentBlock, n - begin);
      Block m_block(format, Moment::kFirst, m, begin, count), v_block(format, Moment::kSecond, v, begin, count);
      m_block.Read(m_values);
      v_block.Read(v_values);
      table.adamw(step, count, gradient + begin, weight + begin, m_values, v_values);
      m_block.Write(rounding_key, m_values);
      v_block.Write(rounding_key, v_values);
    }
  });
}

}  // namespace hone::kernels
