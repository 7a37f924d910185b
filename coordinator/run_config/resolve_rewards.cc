// Reward components: names, weights and what each kind needs.
#include <algorithm>
#include <map>
#include <set>

#include "base/pattern.h"
#include "base/status.h"
#include "coordinator/run_config/checks.h"

namespace hone::internal {
namespace {

std::string KindName(const v1::RewardSpec& reward) {
  const google::protobuf::OneofDescriptor* kind = v1::RewardSpec::descriptor()->FindOneofByName("kind");
  const google::protobuf::FieldDescriptor* set = reward.GetReflection()->GetOneofFieldDescriptor(reward, kind);
  return set == nullptr ? "" : set->name();
}

// A pattern that the reward server would refuse is found here, before anything runs.
absl::Status CheckPattern(const std::string& path, const std::string& pattern) {
  HONE_RETURN_IF_ERROR(CheckText(path, pattern));
  return Annotate(Pattern::Compile(pattern).status(), path);
}

absl::Status ResolveLanguage(const std::string& path, v1::LanguageReward* language) {
  if (!language->has_think_only()) language->set_think_only(false);
  std::map<std::string, std::string> owner;  // word -> language
  std::vector<std::string> names;
  for (const auto& [name, list] : language->words()) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string list_path = absl::StrCat(path, ".words.", name);
    const v1::WordList& list = language->words().at(name);
    if (name.empty()) return FieldError(list_path, "a language needs a name");
    if (list.words().empty()) return FieldError(list_path + ".words", "required: at least one word");
    for (const std::string& word : list.words()) {
      if (word.empty()) return FieldError(list_path + ".words", "a word may not be empty");
      const auto [it, fresh] = owner.emplace(word, name);
      if (!fresh && it->second != name) {
        return FieldError(list_path + ".words", absl::StrCat("'", word, "' is a word of '", it->second, "' already"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ResolveOverlong(const std::string& path, int32_t max_new_tokens, v1::OverlongReward* overlong) {
  if (!overlong->has_max_tokens()) overlong->set_max_tokens(std::max(1, max_new_tokens));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_tokens", overlong->max_tokens(), 1));
  if (!overlong->has_buffer_tokens()) overlong->set_buffer_tokens(std::max(1, overlong->max_tokens() / 5));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".buffer_tokens", overlong->buffer_tokens(), 1));
  if (overlong->buffer_tokens() <= overlong->max_tokens()) return absl::OkStatus();
  return FieldError(path + ".buffer_tokens", absl::StrCat("expected at most max_tokens (", overlong->max_tokens(),
                                                          "), got ", overlong->buffer_tokens()));
}

absl::Status ResolveArithmetic(const std::string& path, v1::ArithmeticReward* arithmetic) {
  if (!arithmetic->has_modulus()) arithmetic->set_modulus(0);
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".modulus", arithmetic->modulus(), 0));
  for (const auto& [word, sign] : arithmetic->words()) {
    const std::string word_path = absl::StrCat(path, ".words.", word);
    if (word.empty()) return FieldError(word_path, "a word may not be empty");
    if (sign.size() != 1 || std::string("+-*/=").find(sign) == std::string::npos) {
      return FieldError(word_path, absl::StrCat("expected one of + - * / =, got '", sign, "'"));
    }
  }
  return absl::OkStatus();
}

absl::Status ResolveReward(const std::string& path, int32_t max_new_tokens, v1::RewardSpec* reward) {
  switch (reward->kind_case()) {
    case v1::RewardSpec::kAccuracy: {
      v1::AccuracyReward* accuracy = reward->mutable_accuracy();
      if (!accuracy->has_match()) accuracy->set_match(v1::ANSWER_MATCH_NUMERIC);
      if (!accuracy->has_extraction()) accuracy->set_extraction(v1::ANSWER_EXTRACTION_ANSWER_TAG);
      break;
    }
    case v1::RewardSpec::kFormat: {
      v1::FormatReward* format = reward->mutable_format();
      if (!format->has_require_finished()) format->set_require_finished(true);
      if (!format->has_think_prefilled()) format->set_think_prefilled(false);
      if (format->has_answer_pattern()) {
        HONE_RETURN_IF_ERROR(CheckPattern(path + ".format.answer_pattern", format->answer_pattern()));
      }
      break;
    }
    case v1::RewardSpec::kLanguage:
      HONE_RETURN_IF_ERROR(ResolveLanguage(path + ".language", reward->mutable_language()));
      break;
    case v1::RewardSpec::kLength:
      break;
    case v1::RewardSpec::kOverlong:
      HONE_RETURN_IF_ERROR(ResolveOverlong(path + ".overlong", max_new_tokens, reward->mutable_overlong()));
      break;
    case v1::RewardSpec::kArithmetic:
      HONE_RETURN_IF_ERROR(ResolveArithmetic(path + ".arithmetic", reward->mutable_arithmetic()));
      break;
    case v1::RewardSpec::KIND_NOT_SET:
      return FieldError(path,
                        "the component's kind is required: one of accuracy, format, language, length, overlong, "
                        "arithmetic");
  }
  if (!reward->has_name()) reward->set_name(KindName(*reward));
  HONE_RETURN_IF_ERROR(CheckName(path + ".name", reward->name()));
  if (!reward->has_weight()) reward->set_weight(1);
  return CheckRange(path + ".weight", reward->weight(), {-1e6, 1e6});
}

}  // namespace

absl::Status ResolveRewards(const std::string& path, RewardUse use, int32_t max_new_tokens,
                            google::protobuf::RepeatedPtrField<v1::RewardSpec>* rewards) {
  if (rewards->empty()) return FieldError(path, "required: at least one component");
  std::set<std::string> names;
  bool counts = false;
  for (int i = 0; i < rewards->size(); ++i) {
    const std::string reward_path = absl::StrCat(path, "[", i, "]");
    v1::RewardSpec* reward = rewards->Mutable(i);
    HONE_RETURN_IF_ERROR(ResolveReward(reward_path, max_new_tokens, reward));
    if (!names.insert(reward->name()).second) {
      return FieldError(reward_path + ".name",
                        absl::StrCat("an earlier component is named '", reward->name(), "' too"));
    }
    counts = counts || reward->weight() != 0;
  }
  if (use == RewardUse::kTraining && !counts) {
    return FieldError(path, "every weight is 0: expected at least one component that counts");
  }
  return absl::OkStatus();
}

}  // namespace hone::internal
