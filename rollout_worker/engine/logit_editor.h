// What a request changes in the logits before a token is drawn: biases and penalties of tokens that are there already.
// Log-probs stay those of the model's own logits.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hone::engine {

struct LogitControls {
  std::vector<std::pair<int32_t, float>> bias;  // token id, what is added to its logit
  // Logits of tokens in prompt or completion: divided by it where positive, else multiplied (arXiv:1909.05858, section
  // 4.1, over both signs). 1 = off.
  float repetition_penalty = 1;
  float presence_penalty = 0;   // taken from the logits of tokens in the completion, once
  float frequency_penalty = 0;  // and once for each time that they are there

  bool any() const { return !bias.empty() || penalizes(); }
  bool penalizes() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
};

// One sequence's tokens, and the edits that follow from them. `controls` must outlive it.
class LogitEditor {
 public:
  LogitEditor(const LogitControls* controls, std::span<const int32_t> prompt);
  // The completion has one token more, or, the other way round, one less.
  void Add(int32_t token);
  void Remove(int32_t token);
  // Edits a row of logits: biases, repetition, presence, frequency, in this order.
  void Edit(std::span<float> logits) const;

 private:
  struct Seen {
    bool in_prompt = false;
    int in_completion = 0;
  };
  const LogitControls* controls_;
  std::unordered_map<int32_t, Seen> seen_;
};

}  // namespace hone::engine
