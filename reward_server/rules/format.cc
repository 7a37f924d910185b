#include "reward_server/rules/format.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

struct TagRule {
  std::string_view tag;
  int count;
};

}  // namespace

ComponentScore ScoreFormat(const FormatRule& rule, std::string_view text, Finish finish) {
  if (rule.require_finished && finish != Finish::kBySelf) return Scored(0, "the completion was cut off");
  text = WithoutEndToken(text, finish);
  const TagRule tags[] = {
      {"<think>", rule.think_prefilled ? 0 : 1}, {"</think>", 1}, {"<answer>", 1}, {"</answer>", 1}};
  for (const TagRule& expected : tags) {
    const int count = CountUpToTwo(text, expected.tag);
    if (count != expected.count) {
      return Scored(0, absl::StrCat("expected ", expected.count, " ", ToAbsl(expected.tag), ", got ",
                                    count == 2 ? "several" : absl::StrCat(count)));
    }
  }
  const size_t think_open = rule.think_prefilled ? 0 : text.find("<think>");
  const size_t think_begin = rule.think_prefilled ? 0 : think_open + 7;
  const size_t think_end = text.find("</think>");
  const size_t answer_open = text.find("<answer>");
  const size_t answer_end = text.find("</answer>");
  if (!(think_begin <= think_end && think_end < answer_open && answer_open < answer_end)) {
    return Scored(0, "the blocks are out of order");
  }
  const size_t behind_think = think_end + 8, answer_begin = answer_open + 8, behind_answer = answer_end + 9;
  const std::string_view outside[] = {text.substr(0, think_open), text.substr(behind_think, answer_open - behind_think),
                                      text.substr(behind_answer)};
  for (const std::string_view part : outside) {
    if (!Trim(part).empty()) return Scored(0, absl::StrCat("text outside of the blocks: ", Quoted(part)));
  }
  if (Trim(text.substr(think_begin, think_end - think_begin)).empty()) return Scored(0, "the think block is empty");
  const std::string_view answer = Trim(text.substr(answer_begin, answer_end - answer_begin));
  if (answer.empty()) return Scored(0, "the answer block is empty");
  if (rule.answer_pattern != nullptr) {
    const std::optional<bool> matches = rule.answer_pattern->MatchesWhole(answer);
    if (!matches) return Unscorable(absl::StrCat("the answer pattern reached its limits on ", Quoted(answer)));
    if (!*matches) return Scored(0, absl::StrCat("the answer ", Quoted(answer), " does not match the pattern"));
  }
  return Scored(1, "one think block, then one answer block");
}

}  // namespace hone::reward
