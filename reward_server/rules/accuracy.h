// The accuracy reward: is the answer the reference? (arXiv:2501.12948, section 2.2)
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "reward_server/math/number.h"
#include "reward_server/rules/completion_text.h"
#include "reward_server/rules/component.h"

namespace hone::reward {

enum class Match { kNumeric, kString };
enum class Extraction { kAnswerTag, kBoxed, kLastNumber, kWhole };

// `text` folded for comparison: Unicode case and white space folded, composed, trimmed. nullopt: not UTF-8,
// or longer than 16 KiB.
std::optional<std::string> FoldText(std::string_view text);

// One reference, read once and compared with many completions. Immutable, thread-safe.
class AccuracyRule {
 public:
  AccuracyRule(Match match, Extraction extraction, std::string reference);

  // 1 where the extracted answer equals the reference, else 0. Unscorable where the reference is missing or, for
  // numbers, is not a number: whatever the completion says, nothing can be said of it. No or an unreadable answer is 0.
  ComponentScore Score(std::string_view text, Finish finish) const;

 private:
  Match match_;
  Extraction extraction_;
  std::string reference_;
  std::optional<Number> number_;       // of the reference, for kNumeric
  std::optional<std::string> folded_;  // of the reference, for kString
};

}  // namespace hone::reward
