// SAPO's soft gate in place of the clip (arXiv:2511.20347): the further a ratio is from 1 the less its token weighs,
// and no gradient is cut. L = -(4 / tau) sigmoid(tau (ratio - 1)) A, with a tau of its own for A < 0.
#include "kernels/math.h"
#include "learner/algorithms/custom.h"

namespace hone::learner {
namespace {

TokenPolicyLoss Sapo(const PolicyToken& token, const Parameters& parameters) {
  const double tau = parameters.at(token.advantage > 0 ? "tau_positive" : "tau_negative");
  const double gate = 1 / (1 + kernels::Exp(-tau * (token.ratio - 1)));
  TokenPolicyLoss result;
  result.loss = -4 / tau * gate * token.advantage;
  // d gate / d ratio = tau gate (1 - gate); d ratio / d logprob = ratio.
  result.d_logprob = -4 * gate * (1 - gate) * token.ratio * token.advantage;
  return result;
}

std::string TausAreAboveZero(const Parameters& parameters) {
  for (const auto& [name, tau] : parameters) {
    if (!(tau > 0)) return name + ": expected above 0, got " + std::to_string(tau);
  }
  return "";
}

}  // namespace

HONE_CUSTOM_PIECES(sapo) {
  pieces->losses["sapo"] = {Sapo, {{"tau_positive", 1.0}, {"tau_negative", 1.05}}, TausAreAboveZero};
}

}  // namespace hone::learner
