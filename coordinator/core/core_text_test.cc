// Text in records. A protobuf string that is not UTF-8 is written but never read again, so none may reach the journal.
#include <gtest/gtest.h>

#include "coordinator/core/core.h"

namespace hone::coordinator {
namespace {

// A core whose records go the journal's way: into bytes and back.
class CoreTextTest : public testing::Test {
 protected:
  Core MakeCore(const std::string& working_directory) {
    CoreOptions options;
    options.working_directory = working_directory;
    return Core(options, [this](const v1::JournalRecord& record) {
      v1::JournalRecord read;
      EXPECT_TRUE(read.ParseFromString(record.SerializeAsString())) << record.event_case();
      records_.push_back(read);
      return RecordSpan{static_cast<int64_t>(records_.size()) - 1, static_cast<int64_t>(records_.size())};
    });
  }

  static absl::Status Create(Core* core, const std::string& output_dir) {
    v1::RunCreated request;
    request.set_run("demo");
    request.set_output_dir(output_dir);
    request.mutable_spec()->set_name("demo");
    request.mutable_spec()->add_stages()->set_name("base");
    request.mutable_spec()->mutable_stages(0)->mutable_pretrain()->set_steps(1);
    bool existed = false;
    return core->CreateRun(request, {}, absl::UnixEpoch(), &existed);
  }

  std::vector<v1::JournalRecord> records_;
};

TEST_F(CoreTextTest, AnErrorIsMendedBeforeItIsWritten) {
  Core core = MakeCore("/work dir");
  ASSERT_TRUE(Create(&core, "/runs/caf\xC3\xA9").ok());
  core.FailRun("demo", "open data/caf\xE9.jsonl: no such file \xE2\x82", absl::UnixEpoch());
  ASSERT_TRUE(records_.back().has_run_state_changed());
  EXPECT_EQ(records_.back().run_state_changed().error(),
            "open data/caf\xEF\xBF\xBD.jsonl: no such file \xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(core.DescribeRun("demo", absl::UnixEpoch())->error(), records_.back().run_state_changed().error());
}

TEST_F(CoreTextTest, AFolderThatIsNotUtf8IsRefused) {
  Core core = MakeCore("/work");
  const absl::Status output = Create(&core, "/runs/caf\xE9");
  EXPECT_TRUE(absl::IsInvalidArgument(output)) << output;
  EXPECT_EQ(std::string(output.message()), "output_dir: expected UTF-8, got '/runs/caf\xEF\xBF\xBD'");
  Core elsewhere = MakeCore("/caf\xE9");
  const absl::Status working = Create(&elsewhere, "/runs/demo");
  EXPECT_TRUE(absl::IsInvalidArgument(working)) << working;
  EXPECT_EQ(std::string(working.message()),
            "the coordinator's working directory: expected UTF-8, got '/caf\xEF\xBF\xBD'");
  EXPECT_TRUE(records_.empty());
}

}  // namespace
}  // namespace hone::coordinator
