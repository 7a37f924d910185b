// What is kept of a recorded group in memory, and the figures of a step or an evaluation that are made from it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hone/v1/trajectory.pb.h"

namespace hone::coordinator {

using Metrics = std::map<std::string, double>;

// Sums over one group's samples. Small: trajectories themselves stay in the journal.
struct GroupSummary {
  struct Component {
    std::string name;
    double sum = 0;  // over scored samples
    double min = 0;
    double max = 0;
    int32_t scored = 0;
    int32_t unscorable = 0;
  };
  bool dropped = false;
  std::string drop_reason;        // of a dropped group
  std::string unscorable_reason;  // "<component>: <reason>", of the first unscorable sample; "" where all are scored
  int32_t samples = 0;
  int32_t scored = 0;  // samples whose verdict is SCORED
  int32_t unscorable = 0;
  int32_t truncated = 0;  // finish reason LENGTH
  double reward_sum = 0;  // over scored samples
  double reward_min = 0;
  double reward_max = 0;
  int64_t tokens = 0;
  int32_t tokens_max = 0;
  int64_t thinking_tokens = 0;
  double generate_seconds = 0;
  double reward_seconds = 0;
  std::vector<Component> components;  // in the verdicts' order
};

GroupSummary Summarize(const v1::Group& group);

// Figures of a training step; `seconds` is the time from the publication of the version to the step's last group.
//   reward/{mean,max,min}, reward/<component>/mean, reward/zero_variance_share, response_length/{mean,max,clip_ratio},
//   thinking_length/mean, rollout/{tokens,samples,groups,dropped_groups,unscorable,seconds,tokens_per_s}
// Sums run in slot order, so that who came first leaves no trace. Means over nothing are left out.
Metrics StepFigures(const std::vector<const GroupSummary*>& groups, double seconds);

// Figures of an evaluation: eval/pass_at_1 (mean of the component `accuracy`, left out where it is ""),
// eval/reward/mean, eval/<component>/mean, eval/response_length/{mean,clip_ratio}, eval/thinking_length/mean,
// eval/{problems,samples,unscorable,dropped_groups}.
Metrics EvaluationFigures(const std::vector<const GroupSummary*>& groups, const std::string& accuracy);

}  // namespace hone::coordinator
