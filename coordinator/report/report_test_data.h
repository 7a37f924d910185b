// A made-up run for the tests of this folder: a pretrain stage and an rl stage of 12 steps with two evaluations.
#pragma once

#include <string>

#include "coordinator/report/run_reporter.h"
#include "hone/v1/control.pb.h"
#include "hone/v1/trajectory.pb.h"

namespace hone::coordinator {

inline v1::StepMetrics MakeStep(const std::string& stage, int step, const MetricMap& values) {
  v1::StepMetrics metrics;
  metrics.set_stage(stage);
  metrics.set_step(step);
  metrics.mutable_time()->set_seconds(1800000000 + step);
  for (const auto& [name, value] : values) (*metrics.mutable_values())[name] = value;
  return metrics;
}

inline v1::StepMetrics MakeRlStep(int step) {
  const double progress = step / 12.0;
  return MakeStep("zero", step,
                  {{"reward/mean", 2 * progress},
                   {"reward/accuracy/mean", progress},
                   {"reward/format/mean", progress},
                   {"response_length/mean", 14 + 9 * progress},
                   {"thinking_length/mean", 8 + 9 * progress},
                   {"actor/entropy", 1.5 - progress},
                   {"actor/ppo_kl", 0.01},
                   {"actor/pg_clipfrac", 0.02},
                   {"actor/grad_norm", 0.7},
                   {"rollout/tokens", 1000},
                   {"rollout/seconds", 0.5},
                   {"rollout/tokens_per_s", 2000},
                   {"train/tokens", 800},
                   {"train/seconds", 0.25},
                   {"train/tokens_per_s", 3200},
                   {"rollout/compared_tokens", 900},
                   {"rollout/logprob_diff_max", 0}});
}

inline MetricMap MakeEvaluation(double pass, double thinking) {
  return {{"eval/pass_at_1", pass},
          {"eval/accuracy/mean", pass},
          {"eval/format/mean", pass},
          {"eval/language/mean", 0.5},
          {"eval/samples", 2400},
          {"eval/problems", 600},
          {"eval/thinking_length/mean", thinking}};
}

inline v1::Group MakeGroup(const std::string& prompt_id, uint64_t group_id, const std::string& text) {
  v1::Group group;
  group.set_group_id(group_id);
  group.set_prompt_id(prompt_id);
  group.set_prompt_text("1 + 2 =");
  group.set_answer("3");
  for (int i = 0; i < 3; ++i) {
    v1::Trajectory* trajectory = group.add_trajectories();
    trajectory->set_sample_index(i);
    trajectory->set_text(text);
    trajectory->add_tokens(1);
    trajectory->set_finish_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
    trajectory->mutable_verdict()->set_state(v1::REWARD_STATE_SCORED);
    trajectory->mutable_verdict()->set_reward(1);
    v1::RewardComponent* component = trajectory->mutable_verdict()->add_components();
    component->set_name("accuracy");
    component->set_state(v1::REWARD_STATE_SCORED);
    component->set_value(1);
    component->set_weight(1);
    component->set_reason("3 equals 3");
  }
  return group;
}

inline RunReporter::Options MakeOptions(const std::string& folder) {
  return {
      folder, "demo", "name: demo\nseed: <0>\n", "abc123", {{"base", "pretrain"}, {"zero", "rl"}, {"out", "export"}},
      8,      2};
}

// Everything that the run reports, as a coordinator would report it, from the beginning.
inline absl::Status ReportWholeRun(RunReporter* reporter) {
  for (int step = 1; step <= 5; ++step) {
    HONE_RETURN_IF_ERROR(
        reporter->OnStep(MakeStep("base", step, {{"loss", 3.0 / step}, {"train/tokens", 500}, {"train/seconds", 1}})));
  }
  HONE_RETURN_IF_ERROR(reporter->OnStageFinished({"base", "/ckpt/base", "aa", 5, 5}));
  const v1::Group before = MakeGroup("p1", 1, "<think> 1 + 2 </think> <b>3"),
                  after = MakeGroup("p1", 2, "<think> is 3 </think> <answer> 3 </answer>");
  HONE_RETURN_IF_ERROR(reporter->OnEvaluation("zero", 0, 5, absl::FromUnixSeconds(1800000000), MakeEvaluation(0.2, 8)));
  HONE_RETURN_IF_ERROR(reporter->OnSamples("zero", 0, {&before}));
  for (int step = 1; step <= 12; ++step) HONE_RETURN_IF_ERROR(reporter->OnStep(MakeRlStep(step)));
  HONE_RETURN_IF_ERROR(
      reporter->OnEvaluation("zero", 12, 17, absl::FromUnixSeconds(1800000100), MakeEvaluation(0.95, 17)));
  HONE_RETURN_IF_ERROR(reporter->OnSamples("zero", 12, {&after}));
  HONE_RETURN_IF_ERROR(reporter->OnStageFinished({"zero", "/ckpt/zero", "bb", 12, 12}));
  HONE_RETURN_IF_ERROR(reporter->OnStageFinished({"out", "/export"}));
  return reporter->Write({.state = "succeeded", .running_seconds = 61.5});
}

}  // namespace hone::coordinator
