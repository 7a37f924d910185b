// Sample: filters, then inverse CDF in index order. It has no context and takes the baseline path's exponentials, so a
// draw is the same on every machine whose logits are.
#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

struct Candidate {
  float weight;
  int32_t token;
};

// Most likely first; the lower index among equals.
bool MoreLikely(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

// The tokens that stay, in index order, with their weights; `weights` [vocab] are e^((x - max) / T).
std::vector<Candidate> Filter(const float* weights, int64_t vocab, const SamplingParams& params) {
  std::vector<Candidate> kept;
  for (int64_t i = 0; i < vocab; ++i) {
    if (weights[i] > 0) kept.push_back({weights[i], static_cast<int32_t>(i)});
  }
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < kept.size()) {
    std::nth_element(kept.begin(), kept.begin() + (params.top_k - 1), kept.end(), MoreLikely);
    kept.resize(static_cast<size_t>(params.top_k));
  }
  if (params.top_p < 1.0f) {
    // Index order first: the total then does not depend on how the selection above permuted.
    std::sort(kept.begin(), kept.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
    double total = 0;
    for (const Candidate& c : kept) total += c.weight;
    const auto less = [](const Candidate& a, const Candidate& b) { return MoreLikely(b, a); };
    std::make_heap(kept.begin(), kept.end(), less);
    std::vector<Candidate> nucleus;
    double mass = 0;
    while (!kept.empty() && (nucleus.empty() || mass < static_cast<double>(params.top_p) * total)) {
      std::pop_heap(kept.begin(), kept.end(), less);
      mass += kept.back().weight;
      nucleus.push_back(kept.back());
      kept.pop_back();
    }
    kept = std::move(nucleus);
  }
  // The largest weight is e^0 = 1, so min_p is a bound on the weight itself.
  std::erase_if(kept, [&](const Candidate& c) { return c.weight < params.min_p; });
  std::sort(kept.begin(), kept.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  return kept;
}

}  // namespace

int32_t Sample(const float* logits, int64_t vocab, const SamplingParams& params, double uniform,
               const uint8_t* banned) {
  HONE_CHECK(vocab > 0 && uniform >= 0 && uniform < 1) << "Sample: vocab " << vocab << ", uniform " << uniform;
  auto allowed = [banned](int64_t i) { return banned == nullptr || banned[i] == 0; };
  // The best allowed token: the answer if greedy, and the shift of the exponentials. NaN loses against everything.
  int64_t best = -1;
  for (int64_t i = 0; i < vocab; ++i) {
    if (allowed(i) &&
        (best < 0 || logits[i] > logits[best] || (logits[best] != logits[best] && logits[i] == logits[i])))
      best = i;
  }
  HONE_CHECK(best >= 0) << "Sample: all of " << vocab << " tokens are banned";
  const float max = logits[best];
  const bool finite = max > kLowest && max < std::numeric_limits<float>::infinity();
  const float inverse = 1.0f / params.temperature;
  // Below about 3e-39 the inverse is infinite; all of the mass is then the best token's, as it is at 0.
  const bool greedy = params.temperature <= 0 || !(inverse < std::numeric_limits<float>::infinity());
  if (greedy || !finite) return static_cast<int32_t>(best);

  float* weights = cpu::Scratch(cpu::ScratchUse::kSample, static_cast<size_t>(vocab));
  cpu::TableOf(IsaPath::kBaseline).exponentials(logits, vocab, max, inverse, weights);
  for (int64_t i = 0; i < vocab; ++i) {
    if (!allowed(i) || weights[i] != weights[i]) weights[i] = 0;
  }
  if (params.top_k > 0 || params.top_p < 1.0f || params.min_p > 0) {
    const std::vector<Candidate> kept = Filter(weights, vocab, params);
    double total = 0;
    for (const Candidate& c : kept) total += c.weight;
    double cumulative = 0;
    for (const Candidate& c : kept) {
      cumulative += c.weight;
      if (cumulative > uniform * total) return c.token;
    }
    return kept.back().token;
  }
  // Sums of tiles first, then the walk inside the tile where the target falls.
  constexpr int64_t kTile = 512;
  const int64_t tiles = cpu::CeilDiv(vocab, kTile);
  auto tile_sum = [&](int64_t t) {
    double lanes[4] = {};
    const int64_t end = std::min(vocab, (t + 1) * kTile);
    int64_t i = t * kTile;
    for (; i + 4 <= end; i += 4) {
      for (int l = 0; l < 4; ++l) lanes[l] += weights[i + l];
    }
    for (; i < end; ++i) lanes[0] += weights[i];
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  };
  double total = 0;
  for (int64_t t = 0; t < tiles; ++t) total += tile_sum(t);
  const double target = uniform * total;
  double before = 0;
  int64_t last_with_mass = best;
  for (int64_t t = 0; t < tiles; ++t) {
    const double sum = tile_sum(t);
    if (before + sum > target) {
      double cumulative = before;
      for (int64_t i = t * kTile; i < std::min(vocab, (t + 1) * kTile); ++i) {
        if (weights[i] == 0) continue;
        cumulative += weights[i];
        last_with_mass = i;
        if (cumulative > target) return static_cast<int32_t>(i);
      }
      return static_cast<int32_t>(last_with_mass);  // the walk and the tile's sum round differently
    }
    before += sum;
  }
  for (int64_t i = vocab - 1; i >= 0; --i) {
    if (weights[i] > 0) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(best);
}

}  // namespace hone::kernels
