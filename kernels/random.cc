#include "kernels/random.h"

#include <bit>
#include <cmath>
#include <numeric>

#include "kernels/math.h"

namespace hone::kernels {
namespace {

// 64 random bits for (key, index) from the block of index / 2.
uint64_t Draw64(uint64_t key, uint64_t index) {
  const uint64_t block = index / 2;
  const auto r = Philox4x32(key, {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0});
  const int half = static_cast<int>(index & 1) * 2;
  return static_cast<uint64_t>(r[half + 1]) << 32 | r[half];
}

double ToUniform(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

}  // namespace

std::array<uint32_t, 4> Philox4x32(uint64_t key, std::array<uint32_t, 4> counter) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  auto [c0, c1, c2, c3] = counter;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9;  // Weyl sequences: golden ratio and sqrt(3) - 1
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

double SamplingUniform(uint64_t key, uint64_t stream, uint32_t sample, uint32_t position) {
  const auto r =
      Philox4x32(key, {position, sample, static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)});
  return ToUniform(static_cast<uint64_t>(r[1]) << 32 | r[0]);
}

uint64_t StreamKey(uint64_t seed, const char* purpose, uint64_t extra) {
  // Each character, then `extra`, is a counter under the key so far: a chain of keyed permutations.
  uint64_t key = seed;
  uint32_t length = 0;
  for (const char* c = purpose; *c != '\0'; ++c, ++length) {
    const auto r = Philox4x32(key, {static_cast<unsigned char>(*c), length, 0, 0x73747265});
    key = static_cast<uint64_t>(r[1]) << 32 | r[0];
  }
  const auto r =
      Philox4x32(key, {static_cast<uint32_t>(extra), static_cast<uint32_t>(extra >> 32), length, 0x6578747a});
  return static_cast<uint64_t>(r[1]) << 32 | r[0];
}

void NormalDraws(uint64_t key, int64_t n, float* out) {
  // Box-Muller: elements 2i and 2i + 1 are the two projections of one random point.
  for (int64_t i = 0; i < n; i += 2) {
    const double u = 1.0 - ToUniform(Draw64(key, static_cast<uint64_t>(i)));  // (0, 1]
    const double angle = 6.28318530717958647693 * ToUniform(Draw64(key, static_cast<uint64_t>(i) + 1));
    const double radius = std::sqrt(-2.0 * Log(u));
    out[i] = static_cast<float>(radius * Cos(angle));
    if (i + 1 < n) out[i + 1] = static_cast<float>(radius * Sin(angle));
  }
}

std::vector<int64_t> Permutation(uint64_t key, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  // Fisher-Yates; the multiply-shift of 64 bits leaves a bias below n / 2^64.
  for (int64_t i = n - 1; i > 0; --i) {
    const auto wide =
        static_cast<unsigned __int128>(Draw64(key, static_cast<uint64_t>(i))) * static_cast<uint64_t>(i + 1);
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(wide >> 64)]);
  }
  return order;
}

}  // namespace hone::kernels
