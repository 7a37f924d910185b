// Returns of a sequence's tokens (REINFORCE++, arXiv:2501.03262).
#pragma once

#include <span>

namespace hone::learner {

// In place, token rewards to returns: Q_t = sum over s >= t of discount^(s - t) r_s.
void ReturnsToGo(std::span<double> rewards, double discount);

}  // namespace hone::learner
