// Fuzz target for all that reads completions: extraction, numbers, format, language. The input's first line is the
// reference.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "reward_server/math/extraction.h"
#include "reward_server/math/number.h"
#include "reward_server/rules/accuracy.h"
#include "reward_server/rules/format.h"
#include "reward_server/rules/language.h"

using namespace hone::reward;  // NOLINT: a fuzz target is one function

namespace {

void CheckInside(std::string_view whole, std::optional<std::string_view> part) {
  if (!part || part->empty()) return;
  HONE_CHECK(part->data() >= whole.data() && part->data() + part->size() <= whole.data() + whole.size());
}

void CheckScore(const ComponentScore& score) {
  HONE_CHECK(!score.reason.empty());
  HONE_CHECK(score.value >= 0 && score.value <= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = input.find('\n');
  const std::string reference(input.substr(0, line));
  const std::string_view text = line == std::string_view::npos ? input : input.substr(line + 1);
  CheckInside(text, ExtractAnswerTag(text));
  CheckInside(text, ExtractBoxed(text));
  CheckInside(text, ExtractLastNumber(text));
  if (const auto number = ParseNumber(text)) {
    HONE_CHECK(!number->denominator.IsZero());
    HONE_CHECK(SameNumber(*number, *number));
    const auto other = ParseNumber(reference);
    if (other) HONE_CHECK_EQ(SameNumber(*number, *other), SameNumber(*other, *number));
  }
  for (const Finish finish : {Finish::kBySelf, Finish::kCut}) {
    for (const Match match : {Match::kNumeric, Match::kString}) {
      for (const auto extraction :
           {Extraction::kAnswerTag, Extraction::kBoxed, Extraction::kLastNumber, Extraction::kWhole}) {
        CheckScore(AccuracyRule(match, extraction, reference).Score(text, finish));
      }
    }
    FormatRule rule;
    CheckScore(ScoreFormat(rule, text, finish));
    rule.think_prefilled = true;
    rule.require_finished = false;
    CheckScore(ScoreFormat(rule, text, finish));
  }
  static const WordLists lists(
      std::map<std::string, std::vector<std::string>>{{"en", {"plus", "is"}}, {"zh", {"加", "得"}}});
  for (const bool think_only : {false, true}) {
    CheckScore(ScoreLanguage(text, "zh", {}, think_only));
    CheckScore(ScoreLanguage(text, "en", lists, think_only));
  }
  return 0;
}
