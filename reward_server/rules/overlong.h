// The soft punishment of completions that come near the length limit (DAPO, arXiv:2503.14476, equation 13).
#pragma once

#include <cstdint>

#include "reward_server/rules/component.h"

namespace hone::reward {

// Both at least 1.
struct OverlongRule {
  int64_t max_tokens = 0;     // L_max
  int64_t buffer_tokens = 0;  // L_cache
};

// 0 for `tokens` <= max - buffer; (max - buffer - tokens) / buffer up to max; -1 beyond.
ComponentScore ScoreOverlong(const OverlongRule& rule, int64_t tokens);

}  // namespace hone::reward
