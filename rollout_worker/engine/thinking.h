// Controls of a thought while it is written: budget forcing (s1, arXiv:2501.19393, section 3.1) and the thought
// switching penalty (TIP, arXiv:2501.18585, section 4).
//
// A pure state machine over one sequence's tokens: it is told each token that is drawn and answers which of the newest
// go and which are put in their place. What is put there is not sampled (TOKEN_SOURCE_FORCED) and enters no loss.
//
//   before --`begin` in the text--> thinking --`end` in the text, or max_tokens reached--> after
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {
class Tokenizer;
}  // namespace hone::model

namespace hone::engine {

struct ThinkingControls {
  // Tokens of thinking at most; 0 = no limit. Once it has so many: a line break unless one is there, `end` and
  // `answer_cue` follow, and the answer is sampled after them.
  int max_tokens = 0;
  // The first so many ends of thinking are taken away, and `wait_text` goes on in their place.
  int ignore_ends = 0;
  std::string wait_text = "Wait";
  std::string answer_cue = "\nFinal Answer:";
  std::string begin = "<think>";  // "": thinking begins with the first token
  std::string end = "</think>";
  // alpha: taken, while thinking, from the logits of tokens that begin a switch word, for `switch_window` (beta) tokens
  // from the last such token on (at first: from the first token of thinking). 0 = off.
  float switch_penalty = 0;
  int switch_window = 600;
  std::vector<std::string> switch_words = {"alternatively"};

  bool forces() const { return max_tokens > 0 || ignore_ends > 0; }
  bool penalizes() const { return switch_penalty > 0 && switch_window > 0; }
  bool any() const { return forces() || penalizes(); }
};

// True where a prompt's text opens a think block as its last words.
bool OpensThinking(std::string_view prompt_text, std::string_view begin = "<think>");

// The controls with what the tokenizer makes of them; shared by a group's sequences.
class ThinkingPlan {
 public:
  // `tokenizer` must outlive the plan. INVALID_ARGUMENT: a text of which the tokenizer makes no token (named).
  static absl::StatusOr<ThinkingPlan> Make(const ThinkingControls& controls, const model::Tokenizer* tokenizer);

  const ThinkingControls& controls() const { return controls_; }
  const model::Tokenizer& tokenizer() const { return *tokenizer_; }
  // First tokens of the switch words, as written and with a capital, with and without a space before; none that is a
  // space alone. Ascending.
  const std::vector<int32_t>& switch_tokens() const { return switch_tokens_; }
  bool IsSwitch(int32_t token) const;
  // What may be forced, but for a rest of the thought before an end that is taken away.
  std::vector<int32_t> ForcedTokens() const;

 private:
  ThinkingControls controls_;
  const model::Tokenizer* tokenizer_ = nullptr;
  std::vector<int32_t> switch_tokens_;
};

// One sequence. `plan` must outlive it.
class ThinkingState {
 public:
  // `opened`: the prompt ends inside of a think block.
  ThinkingState(const ThinkingPlan* plan, bool opened);

  struct Action {
    int remove = 0;              // so many of the newest tokens go, the one just drawn among them
    std::vector<int32_t> force;  // then these come
    bool any() const { return remove > 0 || !force.empty(); }
  };
  // `token` was drawn. `ends`: it would end the sequence. Such a token inside of a thought counts as an end of
  // thinking: it is ignored like one, or, where none is to be ignored any more, `end` takes its place.
  Action Push(int32_t token, bool ends);
  // So many of the newest tokens may still be taken away: they may be the beginning of an end that is to be ignored.
  int Revocable() const;
  // Whether the next token's logits are penalized.
  bool PenalizesSwitches() const;

 private:
  enum class Phase { kBefore, kThinking, kAfter };
  void Append(int32_t token);
  void Begin(size_t at);
  // The text behind byte `cut` goes, with the tokens that hold it, for `wait_text`.
  Action Ignore(size_t cut);
  // Forces the end of thinking; `cue`: and what comes after it.
  void ForceEnd(bool cue, Action* action);
  void Force(const std::vector<int32_t>& tokens, Action* action);
  bool AtLimit() const { return plan_->controls().max_tokens > 0 && count_ >= plan_->controls().max_tokens; }

  const ThinkingPlan* plan_;
  Phase phase_ = Phase::kBefore;
  std::string text_;            // of all tokens, as bytes
  std::vector<size_t> starts_;  // where each token's begin
  size_t searched_ = 0;         // no `begin` or `end` begins before this byte of the text
  int count_ = 0;               // tokens of thinking
  int ignored_ = 0;
  size_t thought_ = 0;  // Psi: the token that the current thought began with
};

}  // namespace hone::engine
