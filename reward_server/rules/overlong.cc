#include "reward_server/rules/overlong.h"

#include "absl/strings/str_cat.h"

namespace hone::reward {

ComponentScore ScoreOverlong(const OverlongRule& rule, int64_t tokens) {
  const int64_t allowed = rule.max_tokens - rule.buffer_tokens;
  const int64_t over = tokens - allowed;
  if (over <= 0) return Scored(0, absl::StrCat(tokens, " tokens, ", allowed, " are free"));
  const std::string reason = absl::StrCat(tokens, " tokens, ", over, " above ", allowed);
  if (tokens > rule.max_tokens) return Scored(-1, reason);
  return Scored(-static_cast<double>(over) / static_cast<double>(rule.buffer_tokens), reason);
}

}  // namespace hone::reward
