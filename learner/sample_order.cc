#include "learner/sample_order.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kernels/random.h"

namespace hone::learner {

SampleOrder::SampleOrder(uint64_t seed, const std::string& stage, std::vector<Source> sources, bool shuffle)
    : seed_(seed), stage_(stage), sources_(std::move(sources)), shuffle_(shuffle), cursors_(sources_.size()) {
  for (const Source& source : sources_) {
    HONE_CHECK(source.weight >= 0 && (source.weight == 0 || source.rows > 0)) << "source without rows";
    total_weight_ += source.weight;
  }
  HONE_CHECK(total_weight_ > 0) << "no source has weight";
}

int32_t SampleOrder::Draw() {
  ++drawn_;
  int32_t best = -1;
  double best_lag = 0;
  for (size_t s = 0; s < sources_.size(); ++s) {
    if (sources_[s].weight == 0) continue;
    const double lag =
        sources_[s].weight / total_weight_ * static_cast<double>(drawn_) - static_cast<double>(cursors_[s].taken);
    if (best < 0 || lag > best_lag) {
      best = static_cast<int32_t>(s);
      best_lag = lag;
    }
  }
  ++cursors_[static_cast<size_t>(best)].taken;
  return best;
}

SampleOrder::Item SampleOrder::Next() {
  const int32_t source = Draw();
  Cursor& cursor = cursors_[static_cast<size_t>(source)];
  const int64_t rows = sources_[static_cast<size_t>(source)].rows;
  const int64_t index = cursor.taken - 1;
  if (!shuffle_) return {source, index % rows};
  if (const int64_t epoch = index / rows; cursor.epoch != epoch) {
    const std::string purpose = absl::StrCat("shuffle/", stage_, "/", source);
    cursor.order = kernels::Permutation(kernels::StreamKey(seed_, purpose.c_str(), static_cast<uint64_t>(epoch)), rows);
    cursor.epoch = epoch;
  }
  return {source, cursor.order[static_cast<size_t>(index % rows)]};
}

void SampleOrder::Skip(int64_t items) {
  for (int64_t i = 0; i < items; ++i) Draw();
}

}  // namespace hone::learner
