#include "coordinator/core/admission.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "rpc/limits.h"

namespace hone::coordinator {
namespace {

constexpr char kDiverged[] =
    "The policy has probably diverged: try a lower learning_rate, or tighter clipping (max_grad_norm, clip_low, "
    "clip_high)";

Refusal Malformed(std::string reason, std::string hint = "") {
  return {Refusal::Kind::kMalformed, std::move(reason), std::move(hint)};
}

Refusal CheckTrajectory(const v1::Trajectory& trajectory, int index) {
  const std::string where = "trajectories[" + std::to_string(index) + "]";
  if (trajectory.sample_index() != index) {
    return Malformed(where + ".sample_index: expected " + std::to_string(index) + ", got " +
                     std::to_string(trajectory.sample_index()));
  }
  const int tokens = trajectory.tokens_size();
  if (trajectory.rollout_logprobs_size() != tokens) {
    return Malformed(where + ".rollout_logprobs: expected " + std::to_string(tokens) + " values, got " +
                     std::to_string(trajectory.rollout_logprobs_size()));
  }
  for (const float logprob : trajectory.rollout_logprobs()) {
    if (!std::isfinite(logprob)) return Malformed(where + ".rollout_logprobs: a value is not finite", kDiverged);
  }
  int64_t counted = 0;
  for (const v1::SourceRun& run : trajectory.sources()) counted += run.count();
  if (counted != tokens) {
    return Malformed(where + ".sources: expected " + std::to_string(tokens) + " tokens, got " +
                     std::to_string(counted));
  }
  counted = 0;
  for (const v1::VersionSegment& segment : trajectory.segments()) counted += segment.count();
  if (counted != tokens) {
    return Malformed(where + ".segments: expected " + std::to_string(tokens) + " tokens, got " +
                     std::to_string(counted));
  }
  if (trajectory.finish_reason() == v1::FINISH_REASON_UNSPECIFIED ||
      trajectory.finish_reason() == v1::FINISH_REASON_ABORTED) {
    return Malformed(where + ".finish_reason: expected a finished completion, got " +
                     v1::FinishReason_Name(trajectory.finish_reason()));
  }
  if (trajectory.verdict().state() == v1::REWARD_STATE_UNSPECIFIED) return Malformed(where + ".verdict.state: missing");
  if (!std::isfinite(trajectory.verdict().reward())) return Malformed(where + ".verdict.reward: not finite");
  return {};
}

}  // namespace

Refusal CheckSubmission(const v1::SubmitGroupRequest& request, const v1::TaskContext& context,
                        const std::vector<std::string>& keys) {
  const v1::Group& group = request.group();
  if (const size_t bytes = request.ByteSizeLong(); bytes > kMaxRequestBytes) {
    return Malformed("the request has " + std::to_string(bytes) + " bytes, at most " +
                     std::to_string(kMaxRequestBytes) + " are taken");
  }
  if (group.state() == v1::GROUP_STATE_DROPPED) {
    if (group.trajectories_size() != 0) return Malformed("trajectories: a dropped group has none");
    return group.drop_reason().empty() ? Malformed("drop_reason: missing") : Refusal();
  }
  if (group.state() != v1::GROUP_STATE_COMPLETE) return Malformed("state: expected COMPLETE or DROPPED");
  if (group.trajectories_size() != context.group_size()) {
    return Malformed("trajectories: expected " + std::to_string(context.group_size()) + ", got " +
                     std::to_string(group.trajectories_size()));
  }
  if (group.prompt_tokens().empty()) return Malformed("prompt_tokens: missing");
  for (int i = 0; i < group.trajectories_size(); ++i) {
    Refusal refusal = CheckTrajectory(group.trajectories(i), i);
    if (refusal.kind != Refusal::Kind::kNone) return refusal;
  }
  const v1::PolicyVersion& version = context.version();
  for (const v1::Trajectory& trajectory : group.trajectories()) {
    for (const v1::VersionSegment& segment : trajectory.segments()) {
      if (segment.version() != version.number() || segment.root_hash() != version.root_hash()) {
        return {Refusal::Kind::kOtherLineage,
                "made by version " + std::to_string(segment.version()) + " with root hash " + segment.root_hash() +
                    ", expected version " + std::to_string(version.number()) + " with " + version.root_hash(),
                ""};
      }
    }
    if (!keys.empty() && std::find(keys.begin(), keys.end(), trajectory.numerics_key()) == keys.end()) {
      return {Refusal::Kind::kOtherLineage,
              "numerics key '" + trajectory.numerics_key() + "', expected one of " + absl::StrJoin(keys, ", "), ""};
    }
  }
  return {};
}

}  // namespace hone::coordinator
