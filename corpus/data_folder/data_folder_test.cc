#include "corpus/data_folder/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"

namespace hone::corpus {
namespace {

using ::testing::HasSubstr;

TEST(DataFolder, IsWrittenOverItselfAndNeverOverOthersFiles) {
  ASSERT_TRUE(RemoveTree("data-folder").ok());
  const auto write = [](const std::string& data, const std::string& rows) {
    return WriteDataFolder("data-folder/in", data, {{"model/config.json", "{}"}, {"train.jsonl", rows}});
  };
  ASSERT_TRUE(write("one", "a").ok());
  EXPECT_EQ(*ReadFile("data-folder/in/model/config.json"), "{}");
  EXPECT_EQ(*ReadFile("data-folder/in/hone_data.json"), "{\"data\":\"one\"}\n");
  ASSERT_TRUE(write("one", "b").ok());
  EXPECT_EQ(*ReadFile("data-folder/in/train.jsonl"), "b");

  // Of another data set, and of nobody that says so.
  EXPECT_EQ(write("two", "c").code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(RemoveTree("data-folder/in/hone_data.json").ok());
  ASSERT_TRUE(RemoveTree("data-folder/in/model").ok());
  const absl::Status foreign = write("one", "c");
  EXPECT_EQ(foreign.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(foreign.message()), HasSubstr("data-folder/in/train.jsonl exists"));
  EXPECT_EQ(*ReadFile("data-folder/in/train.jsonl"), "b");
  EXPECT_FALSE(FileExists("data-folder/in/model")) << "nothing is written where one file stands in the way";
  EXPECT_TRUE(write("one", "b").ok()) << "what is the same already stands in nobody's way";
}

}  // namespace
}  // namespace hone::corpus
