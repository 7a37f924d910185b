// Random choices that are the same on every machine: a counter-based generator, without std:: distributions (they
// differ between libraries) and without libm.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace hone::corpus {

// A sequence of choices that is a function of (seed, stream, index) alone. Cheap to make: one for each row. Not
// thread-safe.
class Draw {
 public:
  Draw(uint64_t seed, std::string_view stream, uint64_t index) {
    uint64_t key = Mix(seed + kStep);
    for (const char c : stream) key = Mix(key ^ static_cast<uint8_t>(c));
    key_ = Mix(key ^ Mix(index + kStep));
  }

  uint64_t Next() { return Mix(key_ + kStep * ++counter_); }
  // 0 .. n-1. The upper 32 bits, scaled: for n < 2^16 no value's share is off by more than 2^-16 of itself.
  int Below(int n) {
    HONE_CHECK(n > 0);
    return static_cast<int>((Next() >> 32) * static_cast<uint64_t>(n) >> 32);
  }
  bool Chance(double p) { return static_cast<double>(Next() >> 11) * 0x1p-53 < p; }
  // An index, with probabilities `shares`, which sum to 1.
  int Pick(const std::vector<double>& shares) {
    double u = static_cast<double>(Next() >> 11) * 0x1p-53;
    for (size_t i = 0; i + 1 < shares.size(); ++i) {
      if (u < shares[i]) return static_cast<int>(i);
      u -= shares[i];
    }
    return static_cast<int>(shares.size()) - 1;
  }

 private:
  // SplitMix64's finalizer (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;

  uint64_t key_ = 0;
  uint64_t counter_ = 0;
};

}  // namespace hone::corpus
