#include "corpus/pass_rate/pass_rate_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/files.h"

namespace hone::corpus {
namespace {

using ::testing::HasSubstr;

std::string Sample(const std::string& id, double value, const std::string& state = "REWARD_STATE_SCORED") {
  return absl::StrCat("{\"prompt_id\":\"", id, "\",\"trajectory\":{\"verdict\":{\"components\":[{\"name\":\"format\",",
                      "\"state\":\"REWARD_STATE_SCORED\",\"value\":1},{\"name\":\"accuracy\",\"state\":\"", state,
                      "\",\"value\":", value, "}]}}}\n");
}

PassRateOptions Options(const std::string& data, const std::string& samples) {
  EXPECT_TRUE(WriteFileAtomic("pass_rate_data.jsonl", data).ok());
  EXPECT_TRUE(WriteFileAtomic("pass_rate_samples.jsonl", samples).ok());
  RemoveTree("pass_rate_out.jsonl").IgnoreError();
  PassRateOptions options;
  options.data_path = "pass_rate_data.jsonl";
  options.samples_path = "pass_rate_samples.jsonl";
  options.out_path = "pass_rate_out.jsonl";
  return options;
}

constexpr const char* kData =
    "{\"id\":\"never\"}\n{\"id\":\"half\", \"x\":  1}\n{\"prompt\":\"third "
    "line\"}\n{\"id\":\"always\"}\n{\"id\":\"unseen\"}\n"
    "{\"id\":\"mute\"}\n";

TEST(PassRate, KeepsTheMiddleUnchanged) {
  const std::string samples = Sample("never", 0) + Sample("half", 1) + Sample("always", 1) + Sample("3", 0) +
                              Sample("half", 0) + Sample("3", 1) + Sample("never", 0) +
                              Sample("mute", 0, "REWARD_STATE_UNSCORABLE");
  const auto report = FilterByPassRate(Options(kData, samples));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(*ReadFile("pass_rate_out.jsonl"), "{\"id\":\"half\", \"x\":  1}\n{\"prompt\":\"third line\"}\n");
  EXPECT_EQ(report->rows, 6);
  EXPECT_EQ(report->measured, 4);
  EXPECT_EQ(report->kept, 2);
  EXPECT_EQ(report->samples, 7);
  EXPECT_EQ(report->unscorable, 1);
  EXPECT_DOUBLE_EQ(report->mean_pass, 0.5);
}

// A row's id is what training makes of it: else the row would be taken for one that was not measured.
TEST(PassRate, RowsHaveTheIdsThatTheyHaveInTraining) {
  const std::string data = "{\"id\":null}\n\n{\"id\":7}\n{\"id\":true}\n{\"id\":\"\"}\n{\"id\":\"null\"}\n";
  const std::string samples = Sample("1", 0.5) + Sample("7", 0.5) + Sample("true", 0.5) + Sample("5", 0.5);
  const auto report = FilterByPassRate(Options(data, samples));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->measured, 4);
  EXPECT_EQ(*ReadFile("pass_rate_out.jsonl"), "{\"id\":null}\n{\"id\":7}\n{\"id\":true}\n{\"id\":\"\"}\n");
}

TEST(PassRate, BothEndsAreIncluded) {
  PassRateOptions options = Options(kData, Sample("never", 0) + Sample("always", 1));
  options.min_pass = 0;
  options.max_pass = 1;
  EXPECT_EQ(FilterByPassRate(options)->kept, 2);
  options.max_pass = 0;
  EXPECT_EQ(FilterByPassRate(options)->kept, 1);
}

TEST(PassRate, ErrorsNameFileAndLine) {
  const auto error = [](const PassRateOptions& options) {
    const auto report = FilterByPassRate(options);
    EXPECT_FALSE(FileExists("pass_rate_out.jsonl"));
    return report.ok() ? "accepted" : std::string(report.status().message());
  };
  EXPECT_EQ(error(Options(kData, "{}\n")),
            "pass_rate_samples.jsonl:1: expected a sample with prompt_id and trajectory.verdict.components");
  EXPECT_THAT(error(Options(kData, "\n{broken\n")), HasSubstr("pass_rate_samples.jsonl:2: "));
  EXPECT_THAT(error(Options(kData,
                            "{\"prompt_id\":\"a\",\"trajectory\":{\"verdict\":{\"components\":[{\"name\":3,"
                            "\"state\":null}]}}}\n")),
              HasSubstr("pass_rate_samples.jsonl:1: the sample has no component"));
  EXPECT_THAT(error(Options("[]\n", Sample("a", 1))), HasSubstr("pass_rate_data.jsonl:1: expected a JSON object"));
  EXPECT_THAT(error(Options("{}\n{\"id\":[1]}\n", Sample("1", 1))),
              HasSubstr("pass_rate_data.jsonl:2: key 'id': expected a string or a number, got array"));
  EXPECT_THAT(error(Options(kData, Sample("never", 0))),
              HasSubstr("no problem would be kept: of 6 rows 1 were measured"));
  EXPECT_THAT(error(Options("{\"id\":\"a\"}\n{\"id\":\"a\"}\n", Sample("a", 1))),
              HasSubstr("pass_rate_data.jsonl:2: a second row with the id 'a'"));
  EXPECT_THAT(error(Options(kData, Sample("half", 1) + "{\"step\":20," + Sample("half", 0).substr(1))),
              HasSubstr("pass_rate_samples.jsonl:2: the sample is of stage '', step 20, , the ones before of stage '', "
                        "step 0, "));
  PassRateOptions options = Options(kData, Sample("half", 1));
  options.component = "language";
  EXPECT_THAT(error(options), HasSubstr("the sample has no component 'language'"));
  options.min_pass = 0.9;
  options.max_pass = 0.1;
  EXPECT_THAT(error(options), HasSubstr("expected 0 <= min_pass <= max_pass <= 1"));
  options = Options(kData, Sample("half", 1));
  options.samples_path = "absent.jsonl";
  EXPECT_EQ(FilterByPassRate(options).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hone::corpus
