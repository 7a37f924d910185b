// Where a completion's answer stands. Pure; linear in the text's length whatever the text.
#pragma once

#include <optional>
#include <string_view>

namespace hone::reward {

// The content of the last complete <answer>...</answer>.
std::optional<std::string_view> ExtractAnswerTag(std::string_view text);

// The content of the last \boxed{...} (or \fbox{...}) whose braces balance; escaped braces do not count. A content that
// is wholly one \text{...} is unwrapped, and an option letter in parentheses, (B), is the letter.
std::optional<std::string_view> ExtractBoxed(std::string_view text);

// The last number: as ParseNumber reads it, without units, and not a part of a word (x2, v1).
std::optional<std::string_view> ExtractLastNumber(std::string_view text);

}  // namespace hone::reward
