#include "reward_server/rules/accuracy.h"

#include <utf8proc.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward_server/math/extraction.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

// Ordering a run of combining marks takes time quadratic in its length.
constexpr size_t kMaxFoldedBytes = 16 << 10;

std::optional<std::string_view> Extract(Extraction extraction, std::string_view text) {
  switch (extraction) {
    case Extraction::kAnswerTag:
      return ExtractAnswerTag(text);
    case Extraction::kBoxed:
      return ExtractBoxed(text);
    case Extraction::kLastNumber:
      return ExtractLastNumber(text);
    case Extraction::kWhole:
      return text;
  }
  return std::nullopt;
}

const char* Missing(Extraction extraction) {
  switch (extraction) {
    case Extraction::kAnswerTag:
      return "no answer block";
    case Extraction::kBoxed:
      return "no \\boxed{}";
    case Extraction::kLastNumber:
      return "no number";
    case Extraction::kWhole:
      return "no text";
  }
  return "";
}

}  // namespace

std::optional<std::string> FoldText(std::string_view text) {
  if (text.size() > kMaxFoldedBytes) return std::nullopt;
  utf8proc_uint8_t* folded = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &folded, options);
  if (size < 0) return std::nullopt;
  const std::string_view mapped(reinterpret_cast<const char*>(folded), static_cast<size_t>(size));
  std::string result;
  for (const char c : Trim(mapped)) {
    if (!IsSpace(c)) {
      result += c;
    } else if (result.back() != ' ') {
      result += ' ';
    }
  }
  std::free(folded);
  return result;
}

AccuracyRule::AccuracyRule(Match match, Extraction extraction, std::string reference)
    : match_(match), extraction_(extraction), reference_(std::move(reference)) {
  if (match_ == Match::kNumeric) {
    number_ = ParseNumber(reference_);
  } else {
    folded_ = FoldText(reference_);
  }
}

ComponentScore AccuracyRule::Score(std::string_view text, Finish finish) const {
  if (Trim(reference_).empty()) return Unscorable("the row has no reference answer");
  if (match_ == Match::kNumeric && !number_)
    return Unscorable(absl::StrCat("the reference ", Quoted(reference_), " is not a number"));
  if (match_ == Match::kString && !folded_) return Unscorable("the reference is not UTF-8, or too long");
  const std::optional<std::string_view> answer = Extract(extraction_, WithoutEndToken(text, finish));
  if (!answer) return Scored(0, Missing(extraction_));
  bool equal = false;
  if (match_ == Match::kNumeric) {
    const std::optional<Number> number = ParseNumber(*answer);
    if (!number) return Scored(0, absl::StrCat("the answer ", Quoted(*answer), " is not a number"));
    equal = SameNumber(*number, *number_);
  } else {
    equal = FoldText(*answer) == folded_;
  }
  return Scored(equal ? 1 : 0, absl::StrCat("the answer ", Quoted(*answer), equal ? " equals " : " differs from ",
                                            "the reference ", Quoted(reference_)));
}

}  // namespace hone::reward
