#include "rollout_worker/engine/stop_condition.h"

#include <algorithm>
#include <utility>

#include "model/tokenizer/tokenizer.h"

namespace hone::engine {

StopStringFinder::StopStringFinder(const model::Tokenizer* tokenizer, std::vector<std::string> stops)
    : stops_(std::move(stops)), decoder_(std::make_unique<model::StreamDecoder>(tokenizer)) {
  for (const std::string& stop : stops_) longest_ = std::max(longest_, stop.size());
}
StopStringFinder::~StopStringFinder() = default;
StopStringFinder::StopStringFinder(StopStringFinder&&) noexcept = default;
StopStringFinder& StopStringFinder::operator=(StopStringFinder&&) noexcept = default;

bool StopStringFinder::Push(int32_t token) {
  const std::string added = decoder_->Push(token);
  if (added.empty()) return false;
  tail_ += added;
  bool found = false;
  for (const std::string& stop : stops_) {
    // What ended in the text before was found before.
    const size_t before = tail_.size() - added.size();
    const size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
    found |= tail_.find(stop, from) != std::string::npos;
  }
  if (tail_.size() >= longest_) tail_.erase(0, tail_.size() - (longest_ - 1));
  return found;
}

}  // namespace hone::engine
