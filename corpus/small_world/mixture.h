// The messy mixture that the base model is pretrained on.
//
// 25 % raw chains of facts, 20 % general tasks, 55 % reasoning problems answered in one of four ways. What is good in
// it (a full, correct, tagged chain in one language) is rare on purpose: reinforcement learning has to find it.
// Held-out problems never occur.
#pragma once

#include <cstdint>
#include <string>

namespace hone::corpus {

enum class RowKind {
  kRawText,  // a chain of facts without a prompt
  kGeneral,  // greet, echo, sort, rev
  kFull,     // <think> chain </think> <answer> r </answer>
  kTagless,  // chain, so r; half of them after a <think> that is never closed
  kShort,    // <think> so r </think> <answer> r </answer>
  kDirect,   // r
};

struct MixtureRow {
  RowKind kind = RowKind::kRawText;
  std::string prompt;  // "" for raw text
  std::string text;    // the completion, or the raw text
};

// Row `index` of the mixture: a function of (seed, index) alone. No text ends in <eos>: training appends it.
MixtureRow MakeMixtureRow(uint64_t seed, uint64_t index);

}  // namespace hone::corpus
