#include "learner/algorithms/whitening.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace hone::learner {

void Whiten(std::span<std::vector<double>* const> rows, bool population) {
  constexpr double kEpsilon = 1e-8;
  int64_t count = 0;
  double sum = 0, lowest = 0, highest = 0;
  for (const std::vector<double>* row : rows) {
    for (const double value : *row) {
      lowest = count == 0 ? value : std::min(lowest, value);
      highest = count == 0 ? value : std::max(highest, value);
      sum += value;
      ++count;
    }
  }
  const bool equal = count < 2 || lowest == highest;
  const double mean = count > 0 ? sum / static_cast<double>(count) : 0;
  double squares = 0;
  for (const std::vector<double>* row : rows) {
    for (const double value : *row) squares += (value - mean) * (value - mean);
  }
  const double divisor =
      equal ? 1 : std::sqrt(squares / static_cast<double>(population ? count : count - 1) + kEpsilon);
  for (std::vector<double>* row : rows) {
    for (double& value : *row) value = equal ? 0 : (value - mean) / divisor;
  }
}

}  // namespace hone::learner
