#include "coordinator/core/prompts.h"

#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/sha256.h"

namespace hone::coordinator {
namespace {

// The first 16 hexadecimal digits of a digest as 8 bytes, little-endian.
uint64_t FirstEightBytes(const std::string& hex) {
  uint64_t value = 0;
  for (int byte = 0; byte < 8; ++byte) {
    const uint64_t b = std::stoul(hex.substr(2 * byte, 2), nullptr, 16);
    value |= b << (8 * byte);
  }
  return value;
}

// SplitMix64's output function (Steele, Lea, Flood 2014): draw `counter` of the stream `key`.
uint64_t SplitMix64(uint64_t key, uint64_t counter) {
  uint64_t z = key + (counter + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// [0, n), by the high half of the product: the bias is below n / 2^64.
uint64_t Below(uint64_t random, uint64_t n) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random) * n) >> 64);
}

// One visit of a prompt by a stage; a retry of it has a name of its own.
std::string VisitName(const std::string& stage, const std::string& prompt_id, int64_t visit, int64_t retry) {
  return stage + "\n" + prompt_id + "\n" + std::to_string(visit) + "\n" + std::to_string(retry);
}

}  // namespace

PromptCursor::PromptCursor(std::shared_ptr<const PromptSet> prompts, uint64_t seed, std::string stage)
    : prompts_(std::move(prompts)), seed_(seed), stage_(std::move(stage)) {
  for (const PromptSource& source : prompts_->sources) total_weight_ += source.weight;
  HONE_CHECK(total_weight_ > 0) << "a prompt set without weight";
  Rewind();
}

void PromptCursor::Rewind() {
  next_ = 0;
  states_.assign(prompts_->sources.size(), SourceState());
}

PromptPick PromptCursor::Draw() {
  size_t best = 0;
  double best_lag = 0;
  bool found = false;
  for (size_t i = 0; i < states_.size(); ++i) {
    const double weight = prompts_->sources[i].weight;
    if (weight <= 0) continue;
    const double lag = weight * static_cast<double>(next_ + 1) - total_weight_ * static_cast<double>(states_[i].drawn);
    if (!found || lag > best_lag) {
      best = i;
      best_lag = lag;
      found = true;
    }
  }
  SourceState& state = states_[best];
  const auto size = static_cast<int32_t>(prompts_->sources[best].rows.size());
  const int64_t epoch = state.drawn / size;
  if (state.order_epoch != epoch) {
    state.order = ShuffledOrder(size, seed_, stage_, static_cast<int32_t>(best), epoch);
    state.order_epoch = epoch;
  }
  const int32_t row = state.order[static_cast<size_t>(state.drawn % size)];
  ++state.drawn;
  ++next_;
  return {static_cast<int32_t>(best), row, epoch};
}

std::vector<PromptPick> PromptCursor::Range(int64_t first, int32_t count) {
  if (first < next_) Rewind();
  while (next_ < first) Draw();
  std::vector<PromptPick> picks;
  picks.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) picks.push_back(Draw());
  return picks;
}

std::vector<PromptPick> EvaluationOrder(const PromptSet& prompts, int64_t max_problems, int64_t visit) {
  std::vector<PromptPick> picks;
  for (size_t source = 0; source < prompts.sources.size(); ++source) {
    for (size_t row = 0; row < prompts.sources[source].rows.size(); ++row) {
      if (max_problems > 0 && static_cast<int64_t>(picks.size()) == max_problems) return picks;
      picks.push_back({static_cast<int32_t>(source), static_cast<int32_t>(row), visit});
    }
  }
  return picks;
}

std::vector<int32_t> ShuffledOrder(int32_t n, uint64_t seed, const std::string& stage, int32_t source, int64_t epoch) {
  const uint64_t key = FirstEightBytes(Sha256Hex("prompt-order\n" + std::to_string(seed) + "\n" + stage + "\n" +
                                                 std::to_string(source) + "\n" + std::to_string(epoch)));
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int32_t i = n - 1; i > 0; --i) {
    const uint64_t j = Below(SplitMix64(key, static_cast<uint64_t>(i)), static_cast<uint64_t>(i) + 1);
    std::swap(order[static_cast<size_t>(i)], order[j]);
  }
  return order;
}

uint64_t GroupId(const std::string& run, const std::string& stage, const std::string& prompt_id, int64_t visit,
                 int64_t retry) {
  return FirstEightBytes(Sha256Hex(run + "\n" + VisitName(stage, prompt_id, visit, retry)));
}

uint64_t SampleStream(const std::string& stage, const std::string& prompt_id, int64_t visit, int64_t retry) {
  return FirstEightBytes(Sha256Hex(VisitName(stage, prompt_id, visit, retry)));
}

}  // namespace hone::coordinator
