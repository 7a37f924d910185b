// Advantages brought to mean 0 and variance 1 over all tokens of a step (REINFORCE++, arXiv:2501.03262).
#pragma once

#include <span>
#include <vector>

namespace hone::learner {

// In place, over the tokens of `rows`, in order: (A - mean) / sqrt(variance + 1e-8), the variance with n - 1 or, for a
// `population`, with n. Where all tokens are equal, or there are fewer than two, every one becomes exactly 0.
void Whiten(std::span<std::vector<double>* const> rows, bool population);

}  // namespace hone::learner
