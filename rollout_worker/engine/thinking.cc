#include "rollout_worker/engine/thinking.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "model/tokenizer/tokenizer.h"

namespace hone::engine {

bool OpensThinking(std::string_view prompt_text, std::string_view begin) {
  const size_t end = prompt_text.find_last_not_of(" \t\r\n");
  return !begin.empty() && end != std::string_view::npos && prompt_text.substr(0, end + 1).ends_with(begin);
}

absl::StatusOr<ThinkingPlan> ThinkingPlan::Make(const ThinkingControls& controls, const model::Tokenizer* tokenizer) {
  ThinkingPlan plan;
  plan.controls_ = controls;
  plan.tokenizer_ = tokenizer;
  const auto check = [tokenizer](const char* field, const std::string& text) {
    if (!tokenizer->Encode(text).empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(field, ": expected a text of at least one token, got '", text, "'"));
  };
  if (controls.forces()) HONE_RETURN_IF_ERROR(check("thinking.end", controls.end));
  if (controls.ignore_ends > 0) HONE_RETURN_IF_ERROR(check("thinking.wait_text", controls.wait_text));
  if (!controls.penalizes()) return plan;
  for (const std::string& word : controls.switch_words) {
    std::string capital = word;
    capital[0] = absl::ascii_toupper(static_cast<unsigned char>(capital[0]));
    HONE_RETURN_IF_ERROR(check("thinking.switch_words", word));
    for (const std::string& spelling : {word, capital, absl::StrCat(" ", word), absl::StrCat(" ", capital)}) {
      const int32_t first = tokenizer->Encode(spelling).front();
      if (!absl::StripAsciiWhitespace(tokenizer->TokenBytes(first)).empty()) plan.switch_tokens_.push_back(first);
    }
  }
  std::sort(plan.switch_tokens_.begin(), plan.switch_tokens_.end());
  plan.switch_tokens_.erase(std::unique(plan.switch_tokens_.begin(), plan.switch_tokens_.end()),
                            plan.switch_tokens_.end());
  return plan;
}

std::vector<int32_t> ThinkingPlan::ForcedTokens() const {
  std::vector<int32_t> tokens;
  if (!controls_.forces()) return tokens;
  for (const std::string& text :
       {controls_.ignore_ends > 0 ? controls_.wait_text : "", controls_.end, absl::StrCat("\n", controls_.end),
        absl::StrCat(controls_.end, controls_.answer_cue), absl::StrCat("\n", controls_.end, controls_.answer_cue)}) {
    const std::vector<int32_t> encoded = tokenizer_->Encode(text);
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
  }
  return tokens;
}

bool ThinkingPlan::IsSwitch(int32_t token) const {
  return std::binary_search(switch_tokens_.begin(), switch_tokens_.end(), token);
}

ThinkingState::ThinkingState(const ThinkingPlan* plan, bool opened) : plan_(plan) {
  if (opened || plan_->controls().begin.empty()) Begin(0);
}

void ThinkingState::Begin(size_t at) {
  phase_ = Phase::kThinking;
  searched_ = at;
  thought_ = starts_.size();
}

void ThinkingState::Append(int32_t token) {
  if (!starts_.empty() && plan_->tokenizer().JoinsWithSpace()) text_ += ' ';
  if (phase_ == Phase::kThinking) {
    ++count_;
    if (plan_->IsSwitch(token)) thought_ = starts_.size();
  }
  starts_.push_back(text_.size());
  text_ += plan_->tokenizer().TokenBytes(token);
}

ThinkingState::Action ThinkingState::Push(int32_t token, bool ends) {
  Action action;
  if (phase_ == Phase::kAfter) return action;
  const ThinkingControls& controls = plan_->controls();
  Append(token);
  const std::string& sought = phase_ == Phase::kBefore ? controls.begin : controls.end;
  const size_t found = text_.find(sought, searched_);
  if (found == std::string::npos && text_.size() >= sought.size()) {
    searched_ = std::max(searched_, text_.size() - sought.size() + 1);
  }
  if (phase_ == Phase::kBefore) {
    if (found != std::string::npos) Begin(found + sought.size());
    return action;
  }
  const bool closes = found != std::string::npos;
  if (!closes && !ends) {
    if (AtLimit()) ForceEnd(/*cue=*/true, &action);
    return action;
  }
  if (ignored_ < controls.ignore_ends) return Ignore(closes ? found : starts_.back());
  phase_ = Phase::kAfter;
  if (!closes && controls.forces()) {
    action.remove = 1;
    text_.resize(starts_.back());
    starts_.pop_back();
    ForceEnd(/*cue=*/false, &action);
  }
  return action;
}

ThinkingState::Action ThinkingState::Ignore(size_t cut) {
  ++ignored_;
  const size_t first = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), cut) - starts_.begin()) - 1;
  // What the first of these tokens holds before the end is written again.
  const std::string kept = text_.substr(starts_[first], cut - starts_[first]);
  Action action;
  action.remove = static_cast<int>(starts_.size() - first);
  count_ = std::max(0, count_ - action.remove);  // the token that held the beginning was not counted
  text_.resize(starts_[first]);
  if (first > 0 && plan_->tokenizer().JoinsWithSpace()) text_.pop_back();
  starts_.resize(first);
  searched_ = std::min(searched_, text_.size());
  std::vector<int32_t> wait = plan_->tokenizer().Encode(kept + plan_->controls().wait_text);
  if (plan_->controls().max_tokens > 0) {
    const int room = std::max(0, plan_->controls().max_tokens - count_);
    wait.resize(std::min(wait.size(), static_cast<size_t>(room)));
  }
  Force(wait, &action);
  if (AtLimit()) ForceEnd(/*cue=*/true, &action);
  return action;
}

void ThinkingState::Force(const std::vector<int32_t>& tokens, Action* action) {
  for (const int32_t token : tokens) Append(token);
  action->force.insert(action->force.end(), tokens.begin(), tokens.end());
}

void ThinkingState::ForceEnd(bool cue, Action* action) {
  phase_ = Phase::kAfter;
  const ThinkingControls& controls = plan_->controls();
  const bool on_new_line = !text_.empty() && text_.back() == '\n';
  Force(plan_->tokenizer().Encode(absl::StrCat(on_new_line ? "" : "\n", controls.end, cue ? controls.answer_cue : "")),
        action);
}

int ThinkingState::Revocable() const {
  const ThinkingControls& controls = plan_->controls();
  if (phase_ != Phase::kThinking || ignored_ >= controls.ignore_ends) return 0;
  const std::string_view text = text_;
  const auto from = [&](size_t byte) {  // the token that holds it, and those behind
    return static_cast<int>(starts_.end() - std::upper_bound(starts_.begin(), starts_.end(), byte)) + 1;
  };
  // One that stands there already, behind a beginning in the same token.
  if (const size_t whole = text.find(controls.end, searched_); whole != std::string_view::npos) return from(whole);
  for (size_t length = std::min(controls.end.size() - 1, text.size()); length > 0; --length) {
    if (!text.ends_with(std::string_view(controls.end).substr(0, length))) continue;
    return from(text.size() - length);
  }
  return 0;
}

bool ThinkingState::PenalizesSwitches() const {
  const ThinkingControls& controls = plan_->controls();
  return controls.penalizes() && phase_ == Phase::kThinking &&
         starts_.size() < thought_ + static_cast<size_t>(controls.switch_window);
}

}  // namespace hone::engine
