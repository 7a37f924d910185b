#include "reward_server/scorer.h"

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/pattern.h"
#include "hone/v1/reward.pb.h"
#include "reward_server/rules/accuracy.h"
#include "reward_server/rules/arithmetic.h"
#include "reward_server/rules/format.h"
#include "reward_server/rules/language.h"
#include "reward_server/rules/overlong.h"

namespace hone::reward {
namespace {

constexpr int kMaxCompletions = 4096;

using ScoreFunction = std::function<ComponentScore(const v1::Completion&)>;

struct Component {
  std::string name;
  double weight = 1;
  ScoreFunction score;
};

Finish FinishOf(const v1::Completion& completion) {
  switch (completion.finish_reason()) {
    case v1::FINISH_REASON_END_OF_SEQUENCE:
    case v1::FINISH_REASON_STOP_STRING:
    case v1::FINISH_REASON_STOP_TOKEN:
      return Finish::kBySelf;
    default:
      return Finish::kCut;
  }
}

absl::StatusOr<ScoreFunction> MakeAccuracy(const v1::AccuracyReward& spec, const std::string& reference) {
  Match match = Match::kNumeric;
  switch (spec.match()) {
    case v1::ANSWER_MATCH_UNSPECIFIED:
    case v1::ANSWER_MATCH_NUMERIC:
      break;
    case v1::ANSWER_MATCH_STRING:
      match = Match::kString;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("accuracy.match: unknown value ", spec.match()));
  }
  Extraction extraction = Extraction::kAnswerTag;
  switch (spec.extraction()) {
    case v1::ANSWER_EXTRACTION_UNSPECIFIED:
    case v1::ANSWER_EXTRACTION_ANSWER_TAG:
      break;
    case v1::ANSWER_EXTRACTION_BOXED:
      extraction = Extraction::kBoxed;
      break;
    case v1::ANSWER_EXTRACTION_LAST_NUMBER:
      extraction = Extraction::kLastNumber;
      break;
    case v1::ANSWER_EXTRACTION_WHOLE:
      extraction = Extraction::kWhole;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("accuracy.extraction: unknown value ", spec.extraction()));
  }
  const auto rule = std::make_shared<const AccuracyRule>(match, extraction, reference);
  return [rule](const v1::Completion& completion) { return rule->Score(completion.text(), FinishOf(completion)); };
}

absl::StatusOr<ScoreFunction> MakeFormat(const v1::FormatReward& spec) {
  FormatRule rule;
  rule.require_finished = !spec.has_require_finished() || spec.require_finished();
  rule.think_prefilled = spec.think_prefilled();
  std::shared_ptr<const Pattern> pattern;
  if (spec.has_answer_pattern()) {
    auto compiled = Pattern::Compile(spec.answer_pattern());
    if (!compiled.ok()) return Annotate(compiled.status(), "format.answer_pattern");
    pattern = std::make_shared<const Pattern>(*std::move(compiled));
    rule.answer_pattern = pattern.get();
  }
  return [rule, pattern](const v1::Completion& completion) {
    return ScoreFormat(rule, completion.text(), FinishOf(completion));
  };
}

ScoreFunction MakeLanguage(const v1::LanguageReward& spec, const std::string& language) {
  std::map<std::string, std::vector<std::string>> words;
  for (const auto& [name, list] : spec.words()) words[name].assign(list.words().begin(), list.words().end());
  const auto lists = std::make_shared<const WordLists>(words);
  return [lists, language, think_only = spec.think_only()](const v1::Completion& completion) {
    return ScoreLanguage(completion.text(), language, *lists, think_only);
  };
}

ComponentScore ScoreLength(const v1::Completion& completion) {
  return Scored(completion.token_count(), absl::StrCat(completion.token_count(), " tokens"));
}

absl::StatusOr<ScoreFunction> MakeOverlong(const v1::OverlongReward& spec) {
  const OverlongRule rule{.max_tokens = spec.max_tokens(), .buffer_tokens = spec.buffer_tokens()};
  if (rule.max_tokens < 1) return absl::InvalidArgumentError("overlong.max_tokens: expected at least 1");
  if (rule.buffer_tokens < 1) return absl::InvalidArgumentError("overlong.buffer_tokens: expected at least 1");
  return [rule](const v1::Completion& completion) { return ScoreOverlong(rule, completion.token_count()); };
}

ScoreFunction MakeArithmetic(const v1::ArithmeticReward& spec) {
  const std::map<std::string, std::string> words(spec.words().begin(), spec.words().end());
  const auto rule = std::make_shared<const ArithmeticRule>(words, spec.modulus());
  return [rule](const v1::Completion& completion) { return rule->Score(completion.text()); };
}

absl::StatusOr<Component> MakeComponent(const v1::RewardSpec& spec, const v1::ScoreGroupRequest& request) {
  Component component;
  component.weight = spec.has_weight() ? spec.weight() : 1;
  if (!std::isfinite(component.weight)) return absl::InvalidArgumentError("weight: expected a finite number");
  switch (spec.kind_case()) {
    case v1::RewardSpec::kAccuracy: {
      component.name = "accuracy";
      HONE_ASSIGN_OR_RETURN(component.score, MakeAccuracy(spec.accuracy(), request.answer()));
      break;
    }
    case v1::RewardSpec::kFormat: {
      component.name = "format";
      HONE_ASSIGN_OR_RETURN(component.score, MakeFormat(spec.format()));
      break;
    }
    case v1::RewardSpec::kLanguage:
      component.name = "language";
      component.score = MakeLanguage(spec.language(), request.language());
      break;
    case v1::RewardSpec::kLength:
      component.name = "length";
      component.score = ScoreLength;
      break;
    case v1::RewardSpec::kOverlong: {
      component.name = "overlong";
      HONE_ASSIGN_OR_RETURN(component.score, MakeOverlong(spec.overlong()));
      break;
    }
    case v1::RewardSpec::kArithmetic:
      component.name = "arithmetic";
      component.score = MakeArithmetic(spec.arithmetic());
      break;
    case v1::RewardSpec::KIND_NOT_SET:
      return absl::InvalidArgumentError("expected one of accuracy, format, language, length, overlong, arithmetic");
  }
  if (spec.has_name()) component.name = spec.name();
  return component;
}

absl::StatusOr<std::vector<Component>> MakeComponents(const v1::ScoreGroupRequest& request) {
  if (request.rewards().empty()) return absl::InvalidArgumentError("rewards: expected at least one");
  if (request.completions_size() > kMaxCompletions) {
    return absl::InvalidArgumentError(
        absl::StrCat("completions: expected at most ", kMaxCompletions, ", got ", request.completions_size()));
  }
  std::vector<Component> components;
  std::set<std::string> names;
  for (int i = 0; i < request.rewards_size(); ++i) {
    auto component = MakeComponent(request.rewards(i), request);
    if (!component.ok()) return Annotate(component.status(), absl::StrCat("rewards[", i, "]"));
    if (!names.insert(component->name).second) {
      return absl::InvalidArgumentError(absl::StrCat("rewards[", i, "].name: '", component->name, "' is there twice"));
    }
    components.push_back(*std::move(component));
  }
  return components;
}

void Judge(const std::vector<Component>& components, const v1::Completion& completion, v1::Verdict* verdict) {
  bool unscorable = false;
  double reward = 0;
  for (const Component& component : components) {
    const ComponentScore score = component.score(completion);
    v1::RewardComponent* out = verdict->add_components();
    out->set_name(component.name);
    out->set_state(score.scored ? v1::REWARD_STATE_SCORED : v1::REWARD_STATE_UNSCORABLE);
    out->set_value(score.value);
    out->set_weight(component.weight);
    out->set_reason(score.reason);
    for (const StepValue& step : score.steps) {
      v1::StepScore* judged = out->add_steps();
      judged->set_end_byte(static_cast<int32_t>(step.end));
      judged->set_value(step.value);
    }
    if (component.weight == 0) continue;
    unscorable = unscorable || !score.scored;
    reward += component.weight * score.value;
  }
  verdict->set_state(unscorable ? v1::REWARD_STATE_UNSCORABLE : v1::REWARD_STATE_SCORED);
  verdict->set_reward(unscorable ? 0 : reward);
}

}  // namespace

absl::StatusOr<v1::ScoreGroupResponse> ScoreGroup(const v1::ScoreGroupRequest& request) {
  HONE_ASSIGN_OR_RETURN(const std::vector<Component> components, MakeComponents(request));
  v1::ScoreGroupResponse response;
  for (const v1::Completion& completion : request.completions()) Judge(components, completion, response.add_verdicts());
  return response;
}

}  // namespace hone::reward
