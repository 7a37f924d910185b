#include "coordinator/core/aggregate.h"

#include <algorithm>

namespace hone::coordinator {
namespace {

struct Totals {
  GroupSummary sum;
  int64_t samples = 0;
  int64_t scored = 0;
  int64_t unscorable = 0;
  int64_t truncated = 0;
  int64_t groups = 0;
  int64_t dropped = 0;
  int64_t zero_variance = 0;
  std::map<std::string, GroupSummary::Component> components;
};

void AddComponents(const GroupSummary& group, Totals* totals) {
  for (const GroupSummary::Component& component : group.components) {
    GroupSummary::Component& total = totals->components[component.name];
    total.sum += component.sum;
    total.scored += component.scored;
    total.unscorable += component.unscorable;
  }
}

Totals Total(const std::vector<const GroupSummary*>& groups) {
  Totals totals;
  bool first = true;
  for (const GroupSummary* group : groups) {
    ++totals.groups;
    if (group->dropped) {
      ++totals.dropped;
      continue;
    }
    totals.samples += group->samples;
    totals.scored += group->scored;
    totals.unscorable += group->unscorable;
    totals.truncated += group->truncated;
    totals.sum.tokens += group->tokens;
    totals.sum.tokens_max = std::max(totals.sum.tokens_max, group->tokens_max);
    totals.sum.thinking_tokens += group->thinking_tokens;
    totals.sum.reward_sum += group->reward_sum;
    if (group->scored > 0) {
      if (group->reward_min == group->reward_max) ++totals.zero_variance;
      totals.sum.reward_min = first ? group->reward_min : std::min(totals.sum.reward_min, group->reward_min);
      totals.sum.reward_max = first ? group->reward_max : std::max(totals.sum.reward_max, group->reward_max);
      first = false;
    }
    AddComponents(*group, &totals);
  }
  return totals;
}

double Ratio(double a, int64_t b) { return a / static_cast<double>(b); }

// The figures that a step and an evaluation share, each name behind `prefix`.
void AddLengths(const Totals& totals, const std::string& prefix, Metrics* metrics) {
  if (totals.samples == 0) return;
  (*metrics)[prefix + "response_length/mean"] = Ratio(static_cast<double>(totals.sum.tokens), totals.samples);
  (*metrics)[prefix + "response_length/max"] = totals.sum.tokens_max;
  (*metrics)[prefix + "response_length/clip_ratio"] = Ratio(static_cast<double>(totals.truncated), totals.samples);
  (*metrics)[prefix + "thinking_length/mean"] = Ratio(static_cast<double>(totals.sum.thinking_tokens), totals.samples);
}

// Of the component that kept the sample from its reward.
std::string UnscorableReason(const v1::Verdict& verdict) {
  for (const v1::RewardComponent& component : verdict.components()) {
    if (component.weight() != 0 && component.state() != v1::REWARD_STATE_SCORED) {
      return component.name() + ": " + (component.reason().empty() ? "no reason given" : component.reason());
    }
  }
  return "the reward server gave no reason";
}

}  // namespace

GroupSummary Summarize(const v1::Group& group) {
  GroupSummary summary;
  summary.dropped = group.state() == v1::GROUP_STATE_DROPPED;
  summary.drop_reason = group.drop_reason();
  summary.generate_seconds = group.generate_seconds();
  summary.reward_seconds = group.reward_seconds();
  for (const v1::Trajectory& trajectory : group.trajectories()) {
    ++summary.samples;
    summary.tokens += trajectory.tokens_size();
    summary.tokens_max = std::max(summary.tokens_max, trajectory.tokens_size());
    summary.thinking_tokens += trajectory.thinking_tokens();
    if (trajectory.finish_reason() == v1::FINISH_REASON_LENGTH) ++summary.truncated;
    const v1::Verdict& verdict = trajectory.verdict();
    if (verdict.state() == v1::REWARD_STATE_SCORED) {
      const double reward = verdict.reward();
      summary.reward_min = summary.scored == 0 ? reward : std::min(summary.reward_min, reward);
      summary.reward_max = summary.scored == 0 ? reward : std::max(summary.reward_max, reward);
      summary.reward_sum += reward;
      ++summary.scored;
    } else {
      if (summary.unscorable == 0) summary.unscorable_reason = UnscorableReason(verdict);
      ++summary.unscorable;
    }
    for (const v1::RewardComponent& component : verdict.components()) {
      auto entry = std::find_if(summary.components.begin(), summary.components.end(),
                                [&](const GroupSummary::Component& c) { return c.name == component.name(); });
      if (entry == summary.components.end()) {
        summary.components.push_back({component.name()});
        entry = summary.components.end() - 1;
      }
      if (component.state() == v1::REWARD_STATE_SCORED) {
        entry->min = entry->scored == 0 ? component.value() : std::min(entry->min, component.value());
        entry->max = entry->scored == 0 ? component.value() : std::max(entry->max, component.value());
        entry->sum += component.value();
        ++entry->scored;
      } else {
        ++entry->unscorable;
      }
    }
  }
  return summary;
}

Metrics StepFigures(const std::vector<const GroupSummary*>& groups, double seconds) {
  const Totals totals = Total(groups);
  Metrics metrics;
  metrics["rollout/groups"] = static_cast<double>(totals.groups);
  metrics["rollout/dropped_groups"] = static_cast<double>(totals.dropped);
  metrics["rollout/samples"] = static_cast<double>(totals.samples);
  metrics["rollout/unscorable"] = static_cast<double>(totals.unscorable);
  metrics["rollout/tokens"] = static_cast<double>(totals.sum.tokens);
  if (seconds > 0) {
    metrics["rollout/seconds"] = seconds;
    metrics["rollout/tokens_per_s"] = static_cast<double>(totals.sum.tokens) / seconds;
  }
  AddLengths(totals, "", &metrics);
  if (totals.scored > 0) {
    metrics["reward/mean"] = Ratio(totals.sum.reward_sum, totals.scored);
    metrics["reward/max"] = totals.sum.reward_max;
    metrics["reward/min"] = totals.sum.reward_min;
    metrics["reward/zero_variance_share"] =
        Ratio(static_cast<double>(totals.zero_variance), totals.groups - totals.dropped);
  }
  for (const auto& [name, component] : totals.components) {
    if (component.scored > 0) metrics["reward/" + name + "/mean"] = Ratio(component.sum, component.scored);
  }
  return metrics;
}

Metrics EvaluationFigures(const std::vector<const GroupSummary*>& groups, const std::string& accuracy) {
  const Totals totals = Total(groups);
  Metrics metrics;
  metrics["eval/problems"] = static_cast<double>(totals.groups - totals.dropped);
  metrics["eval/dropped_groups"] = static_cast<double>(totals.dropped);
  metrics["eval/samples"] = static_cast<double>(totals.samples);
  metrics["eval/unscorable"] = static_cast<double>(totals.unscorable);
  AddLengths(totals, "eval/", &metrics);
  if (totals.scored > 0) metrics["eval/reward/mean"] = Ratio(totals.sum.reward_sum, totals.scored);
  for (const auto& [name, component] : totals.components) {
    if (component.scored == 0) continue;
    metrics["eval/" + name + "/mean"] = Ratio(component.sum, component.scored);
    if (name == accuracy) metrics["eval/pass_at_1"] = Ratio(component.sum, component.scored);
  }
  return metrics;
}

}  // namespace hone::coordinator
