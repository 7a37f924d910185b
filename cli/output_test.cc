#include "cli/output.h"

#include <gtest/gtest.h>

#include "cli/exit_codes.h"
#include "hone/v1/control.pb.h"

namespace hone::cli {
namespace {

TEST(Output, TablesLineUp) {
  Table table({"run", "steps"});
  table.AlignRight(1);
  table.Add({"quickstart", "7"});
  table.Add({"加减", "1200"});
  EXPECT_EQ(table.ToText(), "run         steps\nquickstart      7\n加减         1200\n");
}

TEST(Output, NumbersAndTimesAreShort) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1234567), "1,234,567");
  EXPECT_EQ(Grouped(-1000), "-1,000");
  EXPECT_EQ(Grouped(INT64_MIN), "-9,223,372,036,854,775,808");
  EXPECT_EQ(ShortNumber(0.03125), "0.0312");
  EXPECT_EQ(ShortNumber(18342.7), "18,343");
  EXPECT_EQ(ShortNumber(0), "0");
  EXPECT_EQ(ShortDuration(absl::Milliseconds(400)), "0.4s");
  EXPECT_EQ(ShortDuration(absl::Seconds(59)), "59s");
  EXPECT_EQ(ShortDuration(absl::Seconds(185)), "3m 05s");
  EXPECT_EQ(ShortDuration(absl::Seconds(3725)), "1h 02m");
  EXPECT_EQ(ShortDuration(absl::InfiniteDuration()), "?");
  EXPECT_EQ(OneLine("a\nb", 10), "a b");
  EXPECT_EQ(OneLine("加减乘", 4), "加减...");
}

TEST(Output, JsonKeepsTheSchemasNames) {
  v1::Run run;
  run.set_name("runs/x");
  run.set_spec_hash("h");
  run.mutable_spec()->set_name("x");
  const std::string json = ToJson(run, false);
  EXPECT_NE(json.find("\"spec_hash\":\"h\""), std::string::npos) << json;
  EXPECT_EQ(json.find('\n'), std::string::npos);
}

TEST(Output, EveryKindOfErrorHasItsExitCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), kExitOk);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), kExitNotFound);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), kExitUnavailable);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), kExitUnavailable);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), kExitInvalidInput);
  EXPECT_EQ(ExitCodeOf(absl::AlreadyExistsError("")), kExitRefused);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("")), kExitRefused);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), kExitFailed);
}

}  // namespace
}  // namespace hone::cli
