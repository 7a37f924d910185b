#include "learner/repetition_dropout.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "kernels/random.h"

namespace hone::learner {
namespace {

// Where each n-gram that comes more than once begins, in the order of first occurrences.
std::vector<std::vector<size_t>> RepeatedNgrams(std::span<const int32_t> tokens, size_t n) {
  std::map<std::vector<int32_t>, size_t> index;  // into `starts`
  std::vector<std::vector<size_t>> starts;
  for (size_t i = 0; i + n <= tokens.size(); ++i) {
    const auto ngram = tokens.subspan(i, n);
    const auto [entry, is_new] = index.try_emplace(std::vector<int32_t>(ngram.begin(), ngram.end()), starts.size());
    if (is_new) starts.emplace_back();
    starts[entry->second].push_back(i);
  }
  std::erase_if(starts, [](const std::vector<size_t>& places) { return places.size() < 2; });
  return starts;
}

}  // namespace

std::vector<uint8_t> RepeatedKeys(std::span<const int32_t> tokens, int layers, const RepetitionDropout& dropout,
                                  uint64_t key) {
  const size_t count = tokens.size();
  std::vector<uint8_t> hidden(static_cast<size_t>(layers) * count, 0);
  for (int n = 2; n <= dropout.max_ngram && std::cmp_less_equal(n, count); ++n) {
    const std::vector<std::vector<size_t>> ngrams = RepeatedNgrams(tokens, static_cast<size_t>(n));
    for (size_t g = 0; g < ngrams.size(); ++g) {
      for (int layer = 0; layer < layers; ++layer) {
        const double uniform = kernels::SamplingUniform(key, static_cast<uint64_t>(n), static_cast<uint32_t>(layer),
                                                        static_cast<uint32_t>(g));
        if (uniform >= dropout.probability) continue;
        for (const size_t start : ngrams[g]) {
          std::fill_n(hidden.begin() + static_cast<int64_t>(static_cast<size_t>(layer) * count + start), n, uint8_t{1});
        }
      }
    }
  }
  return hidden;
}

void HideRepetitions(int layers, const RepetitionDropout& dropout, uint64_t step_key, MicroBatch* batch) {
  model::PackedSequences& packed = batch->packed;
  const size_t rows = packed.tokens.size();
  HONE_CHECK_EQ(packed.starts.size(), batch->members.size() + 1) << "sequences share rows";
  packed.masked_keys.assign(static_cast<size_t>(layers) * rows, 0);
  for (size_t s = 0; s < batch->members.size(); ++s) {
    const size_t first = static_cast<size_t>(packed.starts[s]), end = static_cast<size_t>(packed.starts[s + 1]);
    const std::vector<uint8_t> hidden =
        RepeatedKeys(std::span(packed.tokens).subspan(first, end - first), layers, dropout,
                     kernels::StreamKey(step_key, "sequence", static_cast<uint64_t>(batch->members[s])));
    for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer) {
      std::copy_n(hidden.begin() + static_cast<int64_t>(layer * (end - first)), end - first,
                  packed.masked_keys.begin() + static_cast<int64_t>(layer * rows + first));
    }
  }
}

}  // namespace hone::learner
