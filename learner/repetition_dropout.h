// Repetition dropout (arXiv:2310.10226): n-grams that come back in a training sequence are hidden from attention, so
// that a model does not learn to copy them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "learner/packing.h"

namespace hone::learner {

struct RepetitionDropout {
  double probability = 0;  // that an n-gram is hidden in a layer; 0: off
  int max_ngram = 2;       // n-grams of 2 to so many tokens
};

// [layers, n], 1 where a token is hidden as a key. Each n-gram with 2 <= n <= max_ngram that occurs more than once (its
// occurrences may overlap) is hidden in each layer with `probability`, all its occurrences at once. A function of the
// arguments alone.
std::vector<uint8_t> RepeatedKeys(std::span<const int32_t> tokens, int layers, const RepetitionDropout& dropout,
                                  uint64_t key);

// The same for every sequence of a micro-batch, into packed.masked_keys; sequence i of the step has the key
// (step_key, i), so that what is hidden does not depend on the packing. Its sequences share no rows.
void HideRepetitions(int layers, const RepetitionDropout& dropout, uint64_t step_key, MicroBatch* batch);

}  // namespace hone::learner
