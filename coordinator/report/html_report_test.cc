#include "coordinator/report/html_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/report/report_test_data.h"

namespace hone::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RunHistory DemoWithText(const std::string& text) {
  RunHistory history;
  history.run = "demo";
  history.run_text = "name: demo # " + text;
  history.stages = {{"zero", "rl"}};
  history.evaluations.push_back({"zero", 0, 1, {}, MakeEvaluation(0.3, 8)});
  history.evaluations.push_back({"zero", 2, 3, {}, MakeEvaluation(0.9, 17)});
  for (int step = 1; step <= 12; ++step) {
    const v1::StepMetrics metrics = MakeRlStep(step);
    history.steps.push_back(
        {"zero", step, absl::FromUnixSeconds(1800000000), {metrics.values().begin(), metrics.values().end()}});
  }
  SampleRow sample{"zero", 0, 1, 0, "p", text, text, text, text, 5, 3, true, 1, {{text, "scored", 1, 1, text}}};
  history.samples.push_back(sample);
  sample.step = 2;
  history.samples.push_back(sample);
  return history;
}

std::string Render(const RunHistory& history, const std::string& error = "") {
  return HtmlReport(history, Summarize(history, {"succeeded", error, 61}));
}

TEST(HtmlReportTest, ShowsFiguresChartsAndSamples) {
  const std::string html = Render(DemoWithText("<think> why </think> <answer> 3 </answer>"));
  for (const char* part : {"30.0 % →", "90.0 %", "+60.0 points", "Held-out evaluation", "Entropy", "KL divergence",
                           "Clip fraction", "Gradient norm", "Throughput", "Length", "600 held-out problems",
                           "<span class=\"think\">&lt;think&gt; why &lt;/think&gt;</span>",
                           "<span class=\"answer\">&lt;answer&gt; 3 &lt;/answer&gt;</span>"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
}

TEST(HtmlReportTest, WhatNoMeanContainsIsOnACard) {
  const RunHistory history = DemoWithText("x");
  const std::string html =
      HtmlReport(history, Summarize(history, {.state = "succeeded", .dropped_groups = 1234, .unscorable_samples = 8}));
  EXPECT_THAT(html, HasSubstr("1\u2009234 <i>groups</i>"));
  EXPECT_THAT(html, HasSubstr("8 <i>samples</i>"));
  EXPECT_THAT(Render(history), Not(HasSubstr("in no mean")));
}

TEST(HtmlReportTest, HostileTextIsInertWhereverItAppears) {
  const std::string evil = "\"><script>alert(1)</script><img src=x onerror='y'>&amp;";
  const std::string html = Render(DemoWithText(evil), evil);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)"));
}

TEST(HtmlReportTest, IsSelfContained) {
  const std::string html = Render(DemoWithText("x"));
  for (const char* outside : {"http://", "https://", "src=", "@import", "url("})
    EXPECT_THAT(html, Not(HasSubstr(outside))) << outside;
}

TEST(HtmlReportTest, LongCompletionsAreCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "得";
  const std::string html = Render(DemoWithText(text));
  EXPECT_THAT(html, HasSubstr("得 … (cut; see samples.jsonl)"));
}

TEST(HtmlReportTest, ARunWithNothingYetIsAPageToo) {
  RunHistory history;
  history.run = "fresh";
  history.stages = {{"zero", "rl"}};
  const std::string html = HtmlReport(history, Summarize(history, {"running", "", 0}));
  EXPECT_THAT(html, HasSubstr("fresh"));
  EXPECT_THAT(html, HasSubstr("</html>"));
}

}  // namespace
}  // namespace hone::coordinator
