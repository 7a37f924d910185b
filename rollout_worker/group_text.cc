#include "rollout_worker/group_text.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr std::string_view kThinkOpen = "<think>";
constexpr std::string_view kThinkClose = "</think>";

model::PromptFrame FrameOf(v1::PromptTemplate prompt_template) {
  switch (prompt_template) {
    case v1::PROMPT_TEMPLATE_CHAT:
      return model::PromptFrame::kChat;
    case v1::PROMPT_TEMPLATE_R1_ZERO:
      return model::PromptFrame::kR1Zero;
    default:
      return model::PromptFrame::kRaw;
  }
}

int MaxNewTokens(const v1::SamplingSpec& sampling) {
  return sampling.has_max_new_tokens() ? sampling.max_new_tokens() : 256;
}

v1::FinishReason ReasonOf(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kEndOfSequence:
      return v1::FINISH_REASON_END_OF_SEQUENCE;
    case engine::FinishReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    case engine::FinishReason::kStopToken:
      return v1::FINISH_REASON_STOP_TOKEN;
    case engine::FinishReason::kLength:
      break;
  }
  return v1::FINISH_REASON_LENGTH;
}

engine::LogitControls LogitControlsOf(const v1::SamplingSpec& sampling) {
  engine::LogitControls controls;
  for (const v1::LogitBias& entry : sampling.logit_bias()) {
    controls.bias.emplace_back(entry.token_id(), static_cast<float>(entry.bias()));
  }
  if (sampling.has_repetition_penalty())
    controls.repetition_penalty = static_cast<float>(sampling.repetition_penalty());
  controls.presence_penalty = static_cast<float>(sampling.presence_penalty());
  controls.frequency_penalty = static_cast<float>(sampling.frequency_penalty());
  return controls;
}

engine::ThinkingControls ThinkingControlsOf(const v1::ThinkingSpec& spec) {
  engine::ThinkingControls controls;
  controls.max_tokens = spec.max_tokens();
  controls.ignore_ends = spec.ignore_ends();
  controls.switch_penalty = static_cast<float>(spec.switch_penalty());
  if (spec.has_wait_text()) controls.wait_text = spec.wait_text();
  if (spec.has_answer_cue()) controls.answer_cue = spec.answer_cue();
  if (spec.has_begin()) controls.begin = spec.begin();
  if (spec.has_end()) controls.end = spec.end();
  if (spec.has_switch_window()) controls.switch_window = spec.switch_window();
  if (spec.switch_words_size() > 0) controls.switch_words = {spec.switch_words().begin(), spec.switch_words().end()};
  return controls;
}

// Runs of sampled and forced tokens.
void AddSources(const engine::SampledCompletion& completion, v1::Trajectory* trajectory) {
  v1::SourceRun* run = nullptr;
  for (size_t i = 0; i < completion.tokens.size(); ++i) {
    const bool forced = !completion.forced.empty() && completion.forced[i] != 0;
    const v1::TokenSource source = forced ? v1::TOKEN_SOURCE_FORCED : v1::TOKEN_SOURCE_SAMPLED;
    if (run == nullptr || run->source() != source) {
      run = trajectory->add_sources();
      run->set_source(source);
    }
    run->set_count(run->count() + 1);
  }
}

}  // namespace

absl::StatusOr<model::FramedPrompt> PreparePrompt(const v1::GroupTask& task, const v1::TaskContext& context,
                                                  const ModelText& text) {
  const model::PromptFrame frame = FrameOf(task.template_());
  if (frame == model::PromptFrame::kChat && !text.chat_template.has_value()) return text.chat_template_status;
  const model::PromptSurroundings surroundings = {
      .frame = frame,
      .suffix = task.prompt_suffix(),
      .system_prompt = task.has_system_prompt() ? std::optional<std::string>(task.system_prompt()) : std::nullopt,
      .chat = text.chat_template.has_value() ? &*text.chat_template : nullptr};
  HONE_ASSIGN_OR_RETURN(model::FramedPrompt prepared,
                        model::FramePrompt(*text.tokenizer, task.prompt().prompt(), surroundings));
  if (prepared.tokens.empty()) return absl::InvalidArgumentError("the prompt has no token");
  const int64_t room = int64_t{text.config.max_positions} - MaxNewTokens(context.sampling());
  const int64_t limit = context.max_prompt_tokens() > 0 ? std::min<int64_t>(context.max_prompt_tokens(), room) : room;
  const int64_t count = static_cast<int64_t>(prepared.tokens.size());
  if (count <= limit) return prepared;
  if (context.overlong() == v1::OVERLONG_POLICY_TRUNCATE_LEFT && limit > 0) {
    model::CutOldest(*text.tokenizer, static_cast<size_t>(limit), &prepared.tokens);
    return prepared;
  }
  return absl::OutOfRangeError(absl::StrCat(
      context.overlong() == v1::OVERLONG_POLICY_FAIL ? "overlong: fail: " : "overlong: ", "the prompt has ", count,
      " tokens, at most ", std::max<int64_t>(limit, 0), " fit (context ", text.config.max_positions,
      ", max_new_tokens ", MaxNewTokens(context.sampling()), ", max_prompt_tokens ", context.max_prompt_tokens(), ")"));
}

model::FramedPrompt FramedPromptOf(const v1::GenerateRequest& request, const model::Tokenizer& tokenizer) {
  if (request.has_prompt()) return {request.prompt(), model::EncodeFromStart(tokenizer, request.prompt())};
  std::vector<int32_t> tokens(request.tokens().tokens().begin(), request.tokens().tokens().end());
  return {tokenizer.Decode(tokens), tokens};
}

void SetPolicyVersion(const WeightVersion& from, v1::PolicyVersion* to) {
  to->set_number(from.number);
  to->set_parent(from.parent);
  to->set_learner_epoch(from.learner_epoch);
  to->set_root_hash(from.root_hash);
}

engine::GroupRequest MakeGroupRequest(const v1::SamplingSpec& sampling, model::FramedPrompt prompt) {
  engine::GroupRequest request;
  request.prompt = std::move(prompt.tokens);
  request.sampling.temperature = sampling.has_temperature() ? static_cast<float>(sampling.temperature()) : 1.0f;
  request.sampling.top_k = sampling.top_k();
  request.sampling.top_p = sampling.has_top_p() ? static_cast<float>(sampling.top_p()) : 1.0f;
  request.sampling.min_p = static_cast<float>(sampling.min_p());
  request.max_new_tokens = MaxNewTokens(sampling);
  request.min_new_tokens = sampling.min_new_tokens();
  request.stop_token_ids.assign(sampling.stop_token_ids().begin(), sampling.stop_token_ids().end());
  request.stop_strings.assign(sampling.stop().begin(), sampling.stop().end());
  request.logits = LogitControlsOf(sampling);
  request.thinking = ThinkingControlsOf(sampling.thinking());
  request.prompt_opens_thinking = engine::OpensThinking(prompt.text, request.thinking.begin);
  return request;
}

v1::Trajectory MakeTrajectory(const engine::SampledCompletion& completion, int sample_index, bool opened,
                              const model::Tokenizer& tokenizer, const WeightVersion& version,
                              const std::string& numerics_key) {
  v1::Trajectory trajectory;
  const int count = static_cast<int>(completion.tokens.size());
  trajectory.set_sample_index(sample_index);
  trajectory.mutable_tokens()->Add(completion.tokens.begin(), completion.tokens.end());
  trajectory.mutable_rollout_logprobs()->Add(completion.logprobs.begin(), completion.logprobs.end());
  AddSources(completion, &trajectory);
  v1::VersionSegment* segment = trajectory.add_segments();
  segment->set_version(version.number);
  segment->set_root_hash(version.root_hash);
  segment->set_count(count);
  segment->set_replayable(true);
  v1::Turn* turn = trajectory.add_turns();
  turn->set_token_count(count);
  turn->set_role("assistant");
  trajectory.set_finish_reason(ReasonOf(completion.finish));
  trajectory.set_text(tokenizer.Decode(completion.tokens));
  const bool ended = completion.finish == engine::FinishReason::kEndOfSequence ||
                     completion.finish == engine::FinishReason::kStopToken;
  trajectory.set_thinking_tokens(ThinkingTokens(
      std::span(completion.tokens).first(completion.tokens.size() - (ended ? 1 : 0)), opened, tokenizer));
  trajectory.set_numerics_key(numerics_key);
  return trajectory;
}

void PlaceSteps(const model::Tokenizer& tokenizer, v1::Trajectory* trajectory) {
  std::vector<int64_t> ends;  // of each token's text
  for (v1::RewardComponent& component : *trajectory->mutable_verdict()->mutable_components()) {
    if (component.steps().empty()) continue;
    if (ends.empty()) {
      model::StreamDecoder decoder(&tokenizer);
      int64_t size = 0;
      for (const int32_t token : trajectory->tokens()) {
        size += std::ssize(decoder.Push(token));
        ends.push_back(size);
      }
    }
    for (v1::StepScore& step : *component.mutable_steps()) {
      const auto last = std::lower_bound(ends.begin(), ends.end(), step.end_byte());
      step.set_last_token(static_cast<int32_t>(std::min<ptrdiff_t>(last - ends.begin(), std::ssize(ends) - 1)));
    }
  }
}

int ThinkingTokens(std::span<const int32_t> tokens, bool opened, const model::Tokenizer& tokenizer) {
  std::string bytes;
  std::vector<size_t> starts;
  starts.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && tokenizer.JoinsWithSpace()) bytes += ' ';
    starts.push_back(bytes.size());
    bytes += tokenizer.TokenBytes(tokens[i]);
  }
  size_t begin = 0;
  if (!opened) {
    begin = bytes.find(kThinkOpen);
    if (begin == std::string::npos) return 0;
    begin += kThinkOpen.size();
  }
  const size_t end = std::min(bytes.find(kThinkClose, begin), bytes.size());
  return static_cast<int>(std::count_if(starts.begin(), starts.end(),
                                        [begin, end](size_t start) { return start >= begin && start < end; }));
}

}  // namespace hone
