// The reward less the group's mean, over that mean: rare successes weigh more (`max_rl` in prime-rl). For rewards that
// are not negative; a group without any reward has advantage 0.
#include <numeric>

#include "learner/algorithms/custom.h"

namespace hone::learner {
namespace {

std::vector<double> MaxRl(std::span<const double> rewards, const Parameters&) {
  const double mean = std::accumulate(rewards.begin(), rewards.end(), 0.0) / static_cast<double>(rewards.size());
  std::vector<double> advantages;
  advantages.reserve(rewards.size());
  for (const double reward : rewards) advantages.push_back(mean > 0 ? (reward - mean) / mean : 0);
  return advantages;
}

}  // namespace

HONE_CUSTOM_PIECES(max_rl) { pieces->advantages["max_rl"] = {MaxRl, {}}; }

}  // namespace hone::learner
