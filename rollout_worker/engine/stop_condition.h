// Looks for stop strings in a completion while it grows.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace hone::model {
class Tokenizer;
class StreamDecoder;
}  // namespace hone::model

namespace hone::engine {

// One sequence's state. Keeps no more text than the longest stop string needs. Move-only; `tokenizer` must outlive it.
class StopStringFinder {
 public:
  StopStringFinder(const model::Tokenizer* tokenizer, std::vector<std::string> stops);
  ~StopStringFinder();
  StopStringFinder(StopStringFinder&&) noexcept;
  StopStringFinder& operator=(StopStringFinder&&) noexcept;
  // True where the text that `token` adds completes a stop string.
  bool Push(int32_t token);

 private:
  std::vector<std::string> stops_;
  size_t longest_ = 0;
  std::string tail_;  // of the text so far, at most longest_ - 1 bytes
  std::unique_ptr<model::StreamDecoder> decoder_;
};

}  // namespace hone::engine
