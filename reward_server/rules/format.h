// The format rule of R1-Zero (arXiv:2501.12948, section 2.2): reasoning in a think block, then the answer in an answer
// block.
#pragma once

#include <string_view>

#include "base/pattern.h"
#include "reward_server/rules/completion_text.h"
#include "reward_server/rules/component.h"

namespace hone::reward {

struct FormatRule {
  bool require_finished = true;             // cut off by the length limit: 0
  bool think_prefilled = false;             // the prompt ended with <think>: the completion must not open it again
  const Pattern* answer_pattern = nullptr;  // must match the answer block's content, trimmed, as a whole; not owned
};

// 1 where `text` is exactly one non-empty think block, then exactly one non-empty answer block, and white space only
// elsewhere (a block of white space is empty; an end-of-sequence piece at the end is no part of the text); else 0.
// Unscorable where the pattern reaches its limits. Linear in the text's length, but for the pattern.
ComponentScore ScoreFormat(const FormatRule& rule, std::string_view text, Finish finish);

}  // namespace hone::reward
