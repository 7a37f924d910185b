// A compiled regular expression (PCRE2, UTF-8) with bounded work, so that a hostile pair of pattern and text ends, and
// ends the same way everywhere: limits count steps, not time. A run file's patterns are checked and used by this one
// compiler, so what passes the check works.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace hone {

// Immutable and thread-safe.
class Pattern {
 public:
  // INVALID_ARGUMENT: does not compile (with the offset), or is longer than 4,096 bytes.
  static absl::StatusOr<Pattern> Compile(const std::string& pattern);
  // Whether the pattern matches the whole of `text`; nullopt: no verdict within the limits, or the text is not UTF-8.
  std::optional<bool> MatchesWhole(std::string_view text) const;

 private:
  explicit Pattern(std::shared_ptr<void> code) : code_(std::move(code)) {}
  std::shared_ptr<void> code_;  // pcre2_code: its header stays out of ours
};

}  // namespace hone
