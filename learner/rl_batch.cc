#include "learner/rl_batch.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hone/v1/trajectory.pb.h"

namespace hone::learner {
namespace {

struct Limits {
  int64_t version, vocab_size, max_positions;
};

absl::Status CheckTokens(const google::protobuf::RepeatedField<int32_t>& tokens, int64_t vocab_size) {
  for (const int32_t id : tokens) {
    if (id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is outside of the model's vocabulary of ", vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLengths(const v1::Group& group, const v1::Trajectory& trajectory, const Limits& limits) {
  const int64_t tokens = trajectory.tokens_size();
  if (trajectory.rollout_logprobs_size() != tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", tokens, " rollout_logprobs, got ", trajectory.rollout_logprobs_size()));
  }
  int64_t sources = 0, segments = 0;
  for (const v1::SourceRun& run : trajectory.sources()) {
    if (run.count() < 0) return absl::InvalidArgumentError("sources: negative count");
    sources += run.count();
  }
  for (const v1::VersionSegment& segment : trajectory.segments()) segments += segment.count();
  if (sources != tokens || segments != tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected sources and segments of ", tokens, " tokens, got ", sources, " and ", segments));
  }
  const int64_t length = group.prompt_tokens_size() + tokens;
  if (limits.max_positions > 0 && length > limits.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt and completion have ", length, " tokens, the model's context is ", limits.max_positions));
  }
  return CheckTokens(trajectory.tokens(), limits.vocab_size);
}

// Everything but reward and in_loss.
absl::Status MakeSample(const v1::Group& group, const v1::Trajectory& trajectory, const Limits& limits,
                        TrainingSequence* sequence, RlSample* sample) {
  HONE_RETURN_IF_ERROR(CheckLengths(group, trajectory, limits));
  std::vector<int32_t>& tokens = sequence->tokens;
  tokens.assign(group.prompt_tokens().begin(), group.prompt_tokens().end());
  tokens.insert(tokens.end(), trajectory.tokens().begin(), trajectory.tokens().end());
  const int32_t prompt = group.prompt_tokens_size();
  int32_t next = 0;
  for (const v1::SourceRun& run : trajectory.sources()) {
    for (const int32_t end = next + run.count(); next < end; ++next) {
      // The first token of a sequence without prompt follows from nothing: the engine cannot have sampled it.
      if (run.source() != v1::TOKEN_SOURCE_SAMPLED || prompt + next == 0) continue;
      sequence->targets.push_back(prompt + next);
      sample->rollout_logprobs.push_back(trajectory.rollout_logprobs(next));
    }
  }
  sample->on_policy = true;
  for (const v1::VersionSegment& segment : trajectory.segments()) {
    sample->on_policy &= segment.version() == limits.version;
  }
  return absl::OkStatus();
}

// The rewards of a scored sample's steps; tokens are counted among the sequence's targets.
std::vector<StepReward> StepsOf(const v1::Trajectory& trajectory, int32_t prompt_tokens, const RlOptions& options,
                                const TrainingSequence& sequence) {
  std::vector<StepReward> steps;
  const std::vector<int32_t>& targets = sequence.targets;
  if (targets.empty()) return steps;
  double outcome = 0;
  for (const v1::RewardComponent& component : trajectory.verdict().components()) {
    if (component.weight() == 0) continue;
    if (!options.step_components.contains(component.name())) {
      outcome += component.weight() * component.value();
      continue;
    }
    for (const v1::StepScore& step : component.steps()) {
      // The last target that is no later than the step's last token.
      const auto behind = std::upper_bound(targets.begin(), targets.end(), prompt_tokens + step.last_token());
      steps.push_back(
          {.token = std::max<ptrdiff_t>(behind - targets.begin() - 1, 0), .reward = component.weight() * step.value()});
    }
  }
  if (options.outcome_step) steps.push_back({.token = std::ssize(targets) - 1, .reward = outcome});
  return steps;
}

absl::Status AddGroup(const v1::Group& group, const RlOptions& options, const Limits& limits, RlBatch* batch) {
  HONE_RETURN_IF_ERROR(CheckTokens(group.prompt_tokens(), limits.vocab_size));
  std::vector<std::optional<double>> rewards;
  for (const v1::Trajectory& trajectory : group.trajectories()) {
    const bool scored = trajectory.verdict().state() == v1::REWARD_STATE_SCORED;
    rewards.push_back(scored ? std::optional<double>(trajectory.verdict().reward()) : std::nullopt);
  }
  batch->zero_variance_groups += HasZeroVariance(rewards);
  for (int i = 0; i < group.trajectories_size(); ++i) {
    const v1::Trajectory& trajectory = group.trajectories(i);
    TrainingSequence sequence;
    RlSample sample;
    HONE_RETURN_IF_ERROR(
        Annotate(MakeSample(group, trajectory, limits, &sequence, &sample), absl::StrCat("sample ", i)));
    const bool cut_off = options.mask_truncated && trajectory.finish_reason() == v1::FINISH_REASON_LENGTH;
    const bool empty = sequence.targets.empty();
    for (const v1::VersionSegment& segment : trajectory.segments()) {
      const int64_t behind = limits.version - segment.version();
      batch->staleness += behind * segment.count();
      batch->staleness_max = std::max(batch->staleness_max, behind);
      batch->tokens += segment.count();
    }
    batch->truncated += cut_off;
    batch->empty += empty;
    const std::optional<double>& reward = rewards[static_cast<size_t>(i)];
    if (IsScored(reward)) sample.reward = reward;
    batch->excluded += !sample.reward.has_value();
    if (options.process && sample.reward.has_value()) {
      sample.steps = StepsOf(trajectory, group.prompt_tokens_size(), options, sequence);
    }
    sample.in_loss = sample.reward.has_value() && !cut_off && !empty;
    sample.group = batch->group_count;
    sequence.group = batch->group_count;
    batch->sequences.push_back(std::move(sequence));
    batch->samples.push_back(std::move(sample));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RlBatch> BuildRlBatch(std::span<const v1::Group> groups, const RlOptions& options, int64_t version,
                                     int64_t vocab_size, int64_t max_positions) {
  RlBatch batch;
  const Limits limits{version, vocab_size, max_positions};
  for (const v1::Group& group : groups) {
    if (group.state() == v1::GROUP_STATE_DROPPED) {
      ++batch.dropped_groups;
    } else {
      const absl::Status status = AddGroup(group, options, limits, &batch);
      if (!status.ok())
        return Annotate(status, absl::StrCat("group ", group.group_id(), " (prompt '", group.prompt_id(), "')"));
    }
    ++batch.group_count;
  }
  return batch;
}

}  // namespace hone::learner
