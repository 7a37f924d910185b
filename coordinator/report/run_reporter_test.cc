#include "coordinator/report/run_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/files.h"
#include "coordinator/report/report_test_data.h"

namespace hone::coordinator {
namespace {

using ::testing::HasSubstr;

struct RunReporterTest : ::testing::Test {
  RunReporterTest() : folder(absl::StrCat("run_reporter_test.", getpid())) { HONE_CHECK_OK(RemoveTree(folder)); }
  ~RunReporterTest() override { HONE_CHECK_OK(RemoveTree(folder)); }
  std::unique_ptr<RunReporter> Open() { return RunReporter::Open(MakeOptions(folder)).value(); }
  std::string Read(const std::string& name) { return ReadFile(JoinPath(folder, name)).value(); }
  std::string EventFile() {
    const auto names = ListDirectory(JoinPath(folder, "tensorboard")).value();
    EXPECT_EQ(names.size(), 1u);
    return Read("tensorboard/" + names[0]);
  }
  const std::string folder;
};

TEST_F(RunReporterTest, LeavesAllFiles) {
  auto reporter = Open();
  ASSERT_TRUE(ReportWholeRun(reporter.get()).ok());
  EXPECT_EQ(Read("run.yaml"), "name: demo\nseed: <0>\n");
  int lines = 0;
  std::istringstream metrics(Read("metrics.jsonl"));
  for (std::string line; std::getline(metrics, line); ++lines) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_TRUE(json.contains("stage") && json.contains("step") && json.contains("time") && json.contains("metrics"))
        << line;
  }
  EXPECT_EQ(lines, 5 + 12 + 2);
  const auto summary = nlohmann::json::parse(Read("summary.json"));
  EXPECT_EQ(summary["pass_at_1_before"], 0.2);
  EXPECT_EQ(summary["weights_sha256"], "bb");
  const std::string html = Read("report.html");
  EXPECT_THAT(html, HasSubstr("20.0 % →"));
  EXPECT_THAT(html, HasSubstr("95.0 %"));
  std::istringstream samples(Read("samples.jsonl"));
  std::string first;
  std::getline(samples, first);
  const auto sample = nlohmann::json::parse(first);
  EXPECT_EQ(sample["text"], "<think> 1 + 2 </think> <b>3");
  EXPECT_EQ(sample["finish_reason"], "end_of_sequence");
  EXPECT_EQ(sample["components"][0]["reason"], "3 equals 3");
}

TEST_F(RunReporterTest, ReplayAfterRestartChangesNothing) {
  ASSERT_TRUE(ReportWholeRun(Open().get()).ok());
  std::map<std::string, std::string> before;
  for (const char* name : {"run.yaml", "metrics.jsonl", "samples.jsonl", "summary.json", "report.html"})
    before[name] = Read(name);
  const size_t events = EventFile().size();
  for (int restart = 0; restart < 3; ++restart) {
    ASSERT_TRUE(ReportWholeRun(Open().get()).ok());
    for (const auto& [name, text] : before) EXPECT_EQ(Read(name), text) << name;
    EXPECT_EQ(EventFile().size(), events);
  }
}

// Cut metrics.jsonl and samples.jsonl off after every byte, as a crash may, and replay.
TEST_F(RunReporterTest, TornFilesAreMadeWholeByReplay) {
  ASSERT_TRUE(ReportWholeRun(Open().get()).ok());
  const std::string metrics = Read("metrics.jsonl"), samples = Read("samples.jsonl"), summary = Read("summary.json");
  for (size_t cut = 0; cut < metrics.size(); cut += 97) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "metrics.jsonl"), metrics.substr(0, cut)).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "samples.jsonl"), samples.substr(0, cut % samples.size())).ok());
    ASSERT_TRUE(ReportWholeRun(Open().get()).ok());
    ASSERT_EQ(Read("metrics.jsonl"), metrics) << cut;
    ASSERT_EQ(Read("samples.jsonl"), samples) << cut;
    ASSERT_EQ(Read("summary.json"), summary) << cut;
  }
}

TEST_F(RunReporterTest, TheFirstReportOfAStepStands) {
  auto reporter = Open();
  ASSERT_TRUE(reporter->OnStep(MakeStep("zero", 1, {{"a", 1}})).ok());
  ASSERT_TRUE(reporter->OnStep(MakeStep("zero", 1, {{"a", 2}})).ok());
  ASSERT_TRUE(reporter->OnEvaluation("zero", 0, 5, absl::UnixEpoch(), {{"eval/pass_at_1", 0.25}}).ok());
  ASSERT_TRUE(reporter->OnEvaluation("zero", 0, 5, absl::UnixEpoch(), {{"eval/pass_at_1", 0.75}}).ok());
  ASSERT_EQ(reporter->history().steps.size(), 1u);
  EXPECT_EQ(reporter->history().steps[0].metrics.at("a"), 1);
  ASSERT_EQ(reporter->history().evaluations.size(), 1u);
  EXPECT_EQ(reporter->history().evaluations[0].metrics.at("eval/pass_at_1"), 0.25);
}

TEST_F(RunReporterTest, MetricsThatAreNotFiniteSurviveARestart) {
  ASSERT_TRUE(Open()->OnStep(MakeStep("zero", 1, {{"a", NAN}, {"b", HUGE_VAL}, {"c", -HUGE_VAL}, {"d", 0.1}})).ok());
  const MetricMap metrics = Open()->history().steps.at(0).metrics;
  EXPECT_TRUE(std::isnan(metrics.at("a")));
  EXPECT_EQ(metrics.at("b"), HUGE_VAL);
  EXPECT_EQ(metrics.at("c"), -HUGE_VAL);
  EXPECT_EQ(metrics.at("d"), 0.1);
}

TEST_F(RunReporterTest, KeepsAFewSamplesOfEachEvaluationOnce) {
  RunReporter::Options options = MakeOptions(folder);
  options.sample_groups = 2;
  auto reporter = RunReporter::Open(options).value();
  v1::Group dropped;
  const v1::Group a = MakeGroup("a", 1, "x"), b = MakeGroup("b", 2, "y"), c = MakeGroup("c", 3, "z");
  ASSERT_TRUE(reporter->OnSamples("zero", 0, {&dropped, &a, &b, &c}).ok());
  ASSERT_TRUE(reporter->OnSamples("zero", 0, {&dropped, &a, &b, &c}).ok());
  ASSERT_EQ(reporter->history().samples.size(), 4u);
  EXPECT_EQ(reporter->history().samples[3].prompt_id, "b");
  EXPECT_EQ(reporter->history().samples[3].sample_index, 1);
}

TEST_F(RunReporterTest, UnwritableFolderIsNamed) {
  ASSERT_TRUE(WriteFileAtomic(folder, "a file in the way").ok());
  const auto reporter = RunReporter::Open(MakeOptions(folder));
  ASSERT_FALSE(reporter.ok());
  EXPECT_THAT(std::string(reporter.status().message()), HasSubstr(folder));
}

}  // namespace
}  // namespace hone::coordinator
