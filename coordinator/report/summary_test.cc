#include "coordinator/report/summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "coordinator/report/report_test_data.h"

namespace hone::coordinator {
namespace {

RunHistory Demo() {
  RunHistory history;
  history.run = "demo";
  history.stages = {{"base", "pretrain"}, {"zero", "rl"}, {"final", "evaluate"}};
  history.steps.push_back({"base", 1, {}, {{"train/tokens", 7000}, {"train/seconds", 7}}});
  history.steps.push_back({"zero",
                           1,
                           {},
                           {{"rollout/tokens", 100},
                            {"rollout/seconds", 2},
                            {"train/tokens", 90},
                            {"train/seconds", 3},
                            {"rollout/compared_tokens", 80},
                            {"rollout/logprob_diff_max", 0}}});
  history.steps.push_back({"zero",
                           2,
                           {},
                           {{"rollout/tokens", 50},
                            {"rollout/seconds", 1},
                            {"train/tokens", 60},
                            {"train/seconds", 2},
                            {"rollout/compared_tokens", 40},
                            {"rollout/logprob_diff_max", 0}}});
  history.evaluations.push_back({"zero", 2, 3, {}, MakeEvaluation(0.9, 17)});
  history.evaluations.push_back({"zero", 0, 1, {}, MakeEvaluation(0.3, 8)});
  history.evaluations.push_back({"final", 0, 3, {}, MakeEvaluation(0.8, 17)});
  history.ends = {{"base", "/b", "aa", 1, 1}, {"zero", "/z", "bb", 2, 2}, {"final"}};
  return history;
}

nlohmann::json JsonOf(const RunHistory& history) {
  return nlohmann::json::parse(SummaryJson(Summarize(history, {.state = "succeeded", .running_seconds = 12.5})));
}

TEST(SummaryTest, HasTheKeysThatScriptsReadWithTheirDefinitions) {
  const nlohmann::json json = JsonOf(Demo());
  EXPECT_EQ(json["pass_at_1_before"], 0.3);  // the rl stage's evaluation at step 0, in whatever order they came
  EXPECT_EQ(json["pass_at_1_after"], 0.9);   // the rl stage's last, not the evaluate stage's
  EXPECT_EQ(json["thinking_length_before"], 8);
  EXPECT_EQ(json["thinking_length_after"], 17);
  EXPECT_EQ(json["language_share_after"], 0.5);
  EXPECT_EQ(json["format_before"], 0.3);
  EXPECT_EQ(json["steps"], 2);
  EXPECT_EQ(json["run_seconds"], 12.5);
  EXPECT_EQ(json["rollout_tokens"], 150);
  EXPECT_EQ(json["rollout_tokens_per_s"], 50);
  EXPECT_EQ(json["train_tokens_per_s"], 30);
  EXPECT_EQ(json["compared_tokens"], 120);
  EXPECT_EQ(json["max_abs_logprob_diff"], 0);
  EXPECT_EQ(json["weights_sha256"], "bb");
  EXPECT_EQ(json["stages"].size(), 3u);
  EXPECT_EQ(json["stages"][0]["train_tokens"], 7000);
  EXPECT_EQ(json["stages"][0]["max_abs_logprob_diff"], nullptr);
}

TEST(SummaryTest, AfterIsMeasuredOnTheWeightsThatTheStageEndsWith) {
  RunHistory history = Demo();
  history.evaluations.push_back({"zero", 1, 2, {}, MakeEvaluation(0.95, 12)});
  EXPECT_EQ(JsonOf(history)["pass_at_1_after"], 0.9);
  history.ends[1].weights_step = 1;  // keep_best
  nlohmann::json json = JsonOf(history);
  EXPECT_EQ(json["pass_at_1_after"], 0.95);
  EXPECT_EQ(json["stages"][1]["weights_step"], 1);
  EXPECT_EQ(json["stages"][1]["last_evaluation"]["step"], 2);
  EXPECT_EQ(json["stages"][1]["final_evaluation"]["step"], 1);
  history.ends[1].weights_step = 0;  // training made it worse
  json = JsonOf(history);
  EXPECT_EQ(json["pass_at_1_before"], 0.3);
  EXPECT_EQ(json["pass_at_1_after"], 0.3);
}

TEST(SummaryTest, CountsWhatWasLostInTheWholeRun) {
  const RunStanding standing = {
      .state = "failed", .error = "e", .running_seconds = 1, .dropped_groups = 3, .unscorable_samples = 8};
  const nlohmann::json json = nlohmann::json::parse(SummaryJson(Summarize(Demo(), standing)));
  EXPECT_EQ(json["dropped_groups"], 3);
  EXPECT_EQ(json["unscorable_samples"], 8);
  EXPECT_EQ(JsonOf(Demo())["dropped_groups"], 0) << "counted, and none";
}

TEST(SummaryTest, WhatWasNotMeasuredIsNullAndNotZero) {
  RunHistory history = Demo();
  history.steps.clear();
  history.evaluations.clear();
  history.ends.clear();
  const nlohmann::json json = JsonOf(history);
  for (const char* key : {"pass_at_1_before", "pass_at_1_after", "rollout_tokens_per_s", "train_tokens_per_s",
                          "max_abs_logprob_diff", "weights_sha256", "language_share_before", "error"}) {
    ASSERT_TRUE(json.contains(key)) << key;
    EXPECT_TRUE(json[key].is_null()) << key;
  }
}

TEST(SummaryTest, OneEvaluationIsABeforeWithoutAnAfter) {
  RunHistory history = Demo();
  history.evaluations.erase(history.evaluations.begin());
  const nlohmann::json json = JsonOf(history);
  EXPECT_EQ(json["pass_at_1_before"], 0.3);
  EXPECT_TRUE(json["pass_at_1_after"].is_null());
}

TEST(SummaryTest, ADifferenceOnAnyStepShowsEvenIfItIsNotANumber) {
  RunHistory history = Demo();
  history.steps[1].metrics["rollout/logprob_diff_max"] = 1e-7;
  EXPECT_EQ(JsonOf(history)["max_abs_logprob_diff"], 1e-7);
  history.steps[1].metrics["rollout/logprob_diff_max"] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(Summarize(history, {}).totals.max_abs_logprob_diff));
  EXPECT_EQ(JsonOf(history)["max_abs_logprob_diff"], "infinite");
}

TEST(SummaryTest, WithoutRlAllStagesCount) {
  RunHistory history = Demo();
  history.stages = {{"base", "pretrain"}, {"final", "evaluate"}};
  const nlohmann::json json = JsonOf(history);
  EXPECT_EQ(json["steps"], 1);
  EXPECT_EQ(json["train_tokens_per_s"], 1000);
  EXPECT_EQ(json["pass_at_1_before"], 0.8);
}

}  // namespace
}  // namespace hone::coordinator
