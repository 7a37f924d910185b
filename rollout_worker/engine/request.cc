#include "rollout_worker/engine/request.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone::engine {
namespace {

constexpr int kMaxSamples = 1 << 16;
constexpr size_t kMaxStopStrings = 64, kMaxStopTokens = 1024;
constexpr int kMaxTopLogProbs = 20;
constexpr size_t kMaxBiases = 1024;
constexpr size_t kMaxSwitchWords = 64;
constexpr int kMaxIgnoredEnds = 1024;
constexpr size_t kMaxTextBytes = 4096;  // of a stop string, or a text of the thinking controls

absl::Status Refuse(const char* field, const std::string& expected, const std::string& actual) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected ", expected, ", got ", actual));
}

absl::Status CheckLogits(const LogitControls& logits) {
  if (logits.bias.size() > kMaxBiases) {
    return Refuse("logit_bias", absl::StrCat("at most ", kMaxBiases, " tokens"), absl::StrCat(logits.bias.size()));
  }
  for (const auto& [token, bias] : logits.bias) {
    if (token < 0) return Refuse("logit_bias.token_id", "0 or more", absl::StrCat(token));
    if (!std::isfinite(bias)) return Refuse("logit_bias.bias", "a finite number", absl::StrCat(bias));
  }
  if (!(logits.repetition_penalty > 0 && logits.repetition_penalty <= 100)) {
    return Refuse("repetition_penalty", "a number in (0, 100]", absl::StrCat(logits.repetition_penalty));
  }
  if (!(std::fabs(logits.presence_penalty) <= 100)) {
    return Refuse("presence_penalty", "a number in [-100, 100]", absl::StrCat(logits.presence_penalty));
  }
  if (!(std::fabs(logits.frequency_penalty) <= 100)) {
    return Refuse("frequency_penalty", "a number in [-100, 100]", absl::StrCat(logits.frequency_penalty));
  }
  return absl::OkStatus();
}

absl::Status CheckThinking(const ThinkingControls& thinking) {
  if (thinking.max_tokens < 0) {
    return Refuse("thinking.max_tokens", "0 (no limit) or more", absl::StrCat(thinking.max_tokens));
  }
  if (thinking.ignore_ends < 0 || thinking.ignore_ends > kMaxIgnoredEnds) {
    return Refuse("thinking.ignore_ends", absl::StrCat("0 to ", kMaxIgnoredEnds), absl::StrCat(thinking.ignore_ends));
  }
  if (thinking.end.empty()) return Refuse("thinking.end", "a text that is not empty", "an empty one");
  if (thinking.ignore_ends > 0 && thinking.wait_text.empty()) {
    return Refuse("thinking.wait_text", "a text that is not empty", "an empty one");
  }
  if (!(thinking.switch_penalty >= 0 && thinking.switch_penalty <= 1e4f)) {
    return Refuse("thinking.switch_penalty", "0 (off) to 10000", absl::StrCat(thinking.switch_penalty));
  }
  if (thinking.switch_window < 0) {
    return Refuse("thinking.switch_window", "0 (off) or more", absl::StrCat(thinking.switch_window));
  }
  if (thinking.switch_words.size() > kMaxSwitchWords) {
    return Refuse("thinking.switch_words", absl::StrCat("at most ", kMaxSwitchWords),
                  absl::StrCat(thinking.switch_words.size()));
  }
  for (const auto& [field, text] : {std::pair{"thinking.begin", &thinking.begin},
                                    {"thinking.end", &thinking.end},
                                    {"thinking.wait_text", &thinking.wait_text},
                                    {"thinking.answer_cue", &thinking.answer_cue}}) {
    if (text->size() > kMaxTextBytes) {
      return Refuse(field, absl::StrCat("at most ", kMaxTextBytes, " bytes"), absl::StrCat(text->size()));
    }
  }
  if (thinking.wait_text.find(thinking.end) != std::string::npos) {
    return Refuse("thinking.wait_text", "a text without thinking.end in it",
                  absl::StrCat("'", thinking.wait_text, "'"));
  }
  for (const std::string& word : thinking.switch_words) {
    if (word.size() > kMaxTextBytes) {
      return Refuse("thinking.switch_words", absl::StrCat("at most ", kMaxTextBytes, " bytes"),
                    absl::StrCat(word.size()));
    }
    if (word.empty()) return Refuse("thinking.switch_words", "words that are not empty", "an empty one");
  }
  if (thinking.switch_penalty > 0 && thinking.switch_words.empty()) {
    return Refuse("thinking.switch_words", "at least one word beside switch_penalty", "none");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSettings(const GroupRequest& request) {
  const kernels::SamplingParams& s = request.sampling;
  if (!(s.temperature >= 0 && s.temperature <= 1e4f)) {
    return Refuse("temperature", "0 (greedy) to 10000", absl::StrCat(s.temperature));
  }
  if (s.top_k < 0) return Refuse("top_k", "0 (off) or more", absl::StrCat(s.top_k));
  if (!(s.top_p > 0 && s.top_p <= 1)) return Refuse("top_p", "a number in (0, 1]", absl::StrCat(s.top_p));
  if (!(s.min_p >= 0 && s.min_p <= 1)) return Refuse("min_p", "a number in [0, 1]", absl::StrCat(s.min_p));
  if (request.samples < 1 || request.samples > kMaxSamples) {
    return Refuse("samples", absl::StrCat("1 to ", kMaxSamples), absl::StrCat(request.samples));
  }
  if (request.max_new_tokens < 1) return Refuse("max_new_tokens", "1 or more", absl::StrCat(request.max_new_tokens));
  if (request.min_new_tokens < 0 || request.min_new_tokens > request.max_new_tokens) {
    return Refuse("min_new_tokens", absl::StrCat("0 to max_new_tokens = ", request.max_new_tokens),
                  absl::StrCat(request.min_new_tokens));
  }
  if (request.stop_strings.size() > kMaxStopStrings) {
    return Refuse("stop", absl::StrCat("at most ", kMaxStopStrings, " strings"),
                  absl::StrCat(request.stop_strings.size()));
  }
  if (request.stop_token_ids.size() > kMaxStopTokens) {
    return Refuse("stop_token_ids", absl::StrCat("at most ", kMaxStopTokens, " tokens"),
                  absl::StrCat(request.stop_token_ids.size()));
  }
  for (const std::string& stop : request.stop_strings) {
    if (stop.size() > kMaxTextBytes) {
      return Refuse("stop", absl::StrCat("at most ", kMaxTextBytes, " bytes"), absl::StrCat(stop.size()));
    }
    if (stop.empty()) return Refuse("stop", "strings that are not empty", "an empty one");
  }
  if (request.top_logprobs < 0 || request.top_logprobs > kMaxTopLogProbs) {
    return Refuse("top_logprobs", absl::StrCat("0 to ", kMaxTopLogProbs), absl::StrCat(request.top_logprobs));
  }
  HONE_RETURN_IF_ERROR(CheckLogits(request.logits));
  return CheckThinking(request.thinking);
}

}  // namespace hone::engine
