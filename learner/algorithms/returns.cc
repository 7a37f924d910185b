#include "learner/algorithms/returns.h"

namespace hone::learner {

void ReturnsToGo(std::span<double> rewards, double discount) {
  for (size_t t = rewards.size(); t-- > 1;) rewards[t - 1] += discount * rewards[t];
}

}  // namespace hone::learner
