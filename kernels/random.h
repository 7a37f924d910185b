// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A draw is a pure function of (key, counter): nothing is shared, nothing has to be replayed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace hone::kernels {

// The ten-round block function.
std::array<uint32_t, 4> Philox4x32(uint64_t key, std::array<uint32_t, 4> counter);

// The uniform in [0, 1) with 53 bits that decides token `position` (0 = first sampled) of sample `sample` of the group
// with the stream `stream`. `key` is StreamKey(run_seed, stage).
double SamplingUniform(uint64_t key, uint64_t stream, uint32_t sample, uint32_t position);

// A key from a seed and a purpose (a stage's name, "init", "shuffle", ...), so that streams never meet.
uint64_t StreamKey(uint64_t seed, const char* purpose, uint64_t extra = 0);

// n standard normal draws for elements [0, n) of stream `key` (weight initialisation): a function of (key, index).
void NormalDraws(uint64_t key, int64_t n, float* out);

// A permutation of [0, n) as a function of (key, n).
std::vector<int64_t> Permutation(uint64_t key, int64_t n);

}  // namespace hone::kernels
