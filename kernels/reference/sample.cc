#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/reference/reference.h"

namespace hone::kernels::reference {
namespace {

void Normalize(std::vector<double>* p) {
  const double sum = std::accumulate(p->begin(), p->end(), 0.0);
  for (double& x : *p) x /= sum;
}

}  // namespace

std::vector<double> SamplingDistribution(const float* logits, int64_t vocab, const SamplingParams& params,
                                         const uint8_t* banned) {
  std::vector<double> p(static_cast<size_t>(vocab));
  auto allowed = [&](size_t i) { return banned == nullptr || banned[i] == 0; };
  double max = -INFINITY;
  for (size_t i = 0; i < p.size(); ++i) {
    if (allowed(i)) max = std::fmax(max, logits[i]);
  }
  if (params.temperature == 0) {
    for (size_t i = 0; i < p.size(); ++i) {
      if (allowed(i) && logits[i] == max) {
        p[i] = 1;
        return p;
      }
    }
  }
  for (size_t i = 0; i < p.size(); ++i) p[i] = allowed(i) ? std::exp((logits[i] - max) / params.temperature) : 0.0;
  Normalize(&p);
  // Ranks: most likely first, lower index first among equals.
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  if (params.top_k > 0) {
    for (size_t r = static_cast<size_t>(params.top_k); r < order.size(); ++r) p[order[r]] = 0;
    Normalize(&p);
  }
  if (params.top_p < 1) {
    double mass = 0;
    for (size_t token : order) {
      if (mass >= params.top_p) p[token] = 0;  // what is already kept suffices
      mass += p[token];
    }
    Normalize(&p);
  }
  const double floor = params.min_p * *std::max_element(p.begin(), p.end());
  for (double& x : p) {
    if (x < floor) x = 0;
  }
  Normalize(&p);
  return p;
}

}  // namespace hone::kernels::reference
