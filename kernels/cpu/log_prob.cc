// LogProb: soft-max partials over vocabulary tiles, merged in tile order. One op for the sampler and the learner.
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernels/cpu/context.h"
#include "kernels/math.h"

namespace hone::kernels {
namespace {

struct Partial {
  float max, sum, weighted;
};

struct Merged {
  double max, log_sum, entropy;
};

// Tiles in order: sum over tiles of s_i e^(m_i - m), and the entropy log S - sum of (x - m) e^(x - m) / S.
Merged Merge(const Partial* tiles, int64_t count) {
  float max = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) max = tiles[i].max > max ? tiles[i].max : max;
  double sum = 0, weighted = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (tiles[i].sum == 0) continue;  // nothing but -inf: no mass
    const double below = static_cast<double>(tiles[i].max) - max;
    const double share = below == 0 ? 1.0 : Exp(below);
    sum += tiles[i].sum * share;
    weighted += (tiles[i].weighted + below * tiles[i].sum) * share;
  }
  const double log_sum = Log(sum);
  return {max, log_sum, log_sum - weighted / sum};
}

}  // namespace

void LogProb(const KernelContext& ctx, const float* logits, int64_t ld, int64_t rows, int64_t vocab, float temperature,
             const int32_t* targets, float* logprob, float* entropy, float* log_normalizer) {
  HONE_CHECK(rows >= 0 && vocab > 0 && (ld >= vocab || ld == 0) && temperature > 0)
      << "LogProb: rows " << rows << ", vocab " << vocab << ", ld " << ld << ", temperature " << temperature;
  if (rows == 0) return;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const float inverse_temperature = 1.0f / temperature;
  const int64_t tiles = cpu::CeilDiv(vocab, kVocabTile);
  const int64_t distinct = ld == 0 ? 1 : rows;
  auto* partials =
      reinterpret_cast<Partial*>(cpu::Scratch(cpu::ScratchUse::kPartials, static_cast<size_t>(distinct * tiles * 3)));
  ctx.pool().ParallelFor(
      distinct * tiles, cpu::GrainFor(4 * std::min<int64_t>(vocab, kVocabTile)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i % tiles * kVocabTile;
          Partial& p = partials[i];
          table.softmax_partial(logits + i / tiles * ld + first, std::min<int64_t>(kVocabTile, vocab - first),
                                inverse_temperature, &p.max, &p.sum, &p.weighted);
        }
      });
  ctx.pool().ParallelFor(rows, cpu::GrainFor(64 * tiles), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Merged m = Merge(partials + (ld == 0 ? 0 : r * tiles), tiles);
      if (logprob != nullptr) {
        const int32_t target = targets[r];
        HONE_CHECK(target < vocab) << "target " << target << " of row " << r << " beyond the vocabulary of " << vocab;
        const float scaled = target < 0 ? 0.0f : logits[r * ld + target] * inverse_temperature;
        logprob[r] = target < 0 ? 0.0f : static_cast<float>((static_cast<double>(scaled) - m.max) - m.log_sum);
      }
      if (entropy != nullptr) entropy[r] = static_cast<float>(m.entropy);
      if (log_normalizer != nullptr) log_normalizer[r] = static_cast<float>(m.max + m.log_sum);
    }
  });
}

void LogProbBackward(const KernelContext& ctx, float* logits, int64_t ld, int64_t rows, int64_t vocab,
                     float temperature, const int32_t* targets, const float* log_normalizer, const float* entropy,
                     const float* d_logprob, const float* d_entropy) {
  HONE_CHECK(rows >= 0 && vocab > 0 && ld >= vocab && temperature > 0)
      << "LogProbBackward: rows " << rows << ", vocab " << vocab << ", ld " << ld << ", temperature " << temperature;
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const float inverse_temperature = 1.0f / temperature;
  const int64_t tiles = cpu::CeilDiv(vocab, kVocabTile);
  ctx.pool().ParallelFor(
      rows * tiles, cpu::GrainFor(2 * std::min<int64_t>(vocab, kVocabTile)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t r = i / tiles, first = i % tiles * kVocabTile,
                        count = std::min<int64_t>(kVocabTile, vocab - first);
          const int64_t target = targets[r] - first;
          const float of_target = targets[r] < 0 ? 0.0f : d_logprob[r];
          const bool with_entropy = d_entropy != nullptr;
          float* x = logits + r * ld + first;
          table.log_prob_gradient(x, count, inverse_temperature, log_normalizer[r], with_entropy ? entropy[r] : 0.0f,
                                  of_target, with_entropy ? d_entropy[r] : 0.0f);
          if (targets[r] >= 0 && target >= 0 && target < count) x[target] += of_target * inverse_temperature;
        }
      });
}

}  // namespace hone::kernels
