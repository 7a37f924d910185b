#include "coordinator/report/event_file.h"

#include <gmock/gmock.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/files.h"

namespace hone::coordinator {
namespace {

using google::protobuf::UnknownFieldSet;

// Splits a file into records, checking both checksums of each.
std::vector<std::string> Records(const std::string& file) {
  std::vector<std::string> records;
  for (size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    uint32_t length_crc = 0, data_crc = 0;
    std::memcpy(&length, file.data() + at, 8);
    std::memcpy(&length_crc, file.data() + at + 8, 4);
    EXPECT_EQ(length_crc, MaskedCrc32c(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    std::memcpy(&data_crc, file.data() + at + 12 + length, 4);
    EXPECT_EQ(data_crc, MaskedCrc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

// A message of which only the wire format is known.
struct Decoded : UnknownFieldSet {
  explicit Decoded(const std::string& bytes) { EXPECT_TRUE(ParseFromString(bytes)); }
};

TEST(EventFileTest, FrameIsLengthChecksumDataChecksum) {
  const std::string frame = TfRecordFrame("abc");
  ASSERT_EQ(frame.size(), 8 + 4 + 3 + 4u);
  EXPECT_EQ(frame.substr(0, 8), std::string("\x03\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(Records(frame), std::vector<std::string>{"abc"});
}

TEST(EventFileTest, ScalarsEventHoldsTimeStepAndValues) {
  const Decoded event(ScalarsEvent(12.5, 300, "rl/", {{"a", 0.25}, {"b/c", -3}}));
  ASSERT_EQ(event.field_count(), 3);
  EXPECT_EQ(event.field(0).number(), 1);
  EXPECT_EQ(std::bit_cast<double>(event.field(0).fixed64()), 12.5);
  EXPECT_EQ(event.field(1).number(), 2);
  EXPECT_EQ(event.field(1).varint(), 300u);
  EXPECT_EQ(event.field(2).number(), 5);
  const Decoded summary(event.field(2).length_delimited());
  ASSERT_EQ(summary.field_count(), 2);
  const Decoded second(summary.field(1).length_delimited());
  EXPECT_EQ(second.field(0).length_delimited(), "rl/b/c");
  EXPECT_EQ(second.field(1).number(), 2);
  EXPECT_EQ(std::bit_cast<float>(second.field(1).fixed32()), -3.0f);
}

TEST(EventFileTest, FileBeginsWithItsVersionAndGrows) {
  const std::string folder = absl::StrCat("event_file_test.", getpid());
  auto writer = EventFileWriter::Create(folder, absl::FromUnixSeconds(1700000000), {"first"});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Write("second").ok());
  EXPECT_THAT((*writer)->path(), ::testing::HasSubstr("/events.out.tfevents.1700000000."));
  const std::vector<std::string> records = Records(ReadFile((*writer)->path()).value());
  ASSERT_EQ(records.size(), 3u);
  const Decoded version(records[0]);
  EXPECT_EQ(version.field(1).number(), 3);
  EXPECT_EQ(version.field(1).length_delimited(), "brain.Event:2");
  EXPECT_EQ(records[1], "first");
  EXPECT_EQ(records[2], "second");
  ASSERT_TRUE(RemoveTree(folder).ok());
}

TEST(AppendToFileTest, FailureLeavesTheFileAsItWas) {
  const std::string path = absl::StrCat("append_test.", getpid());
  ASSERT_TRUE(AppendToFile(path, "whole\n").ok());
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = AppendToFile(path, "longer than the room that is left\n");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, handler);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(path));
  EXPECT_EQ(ReadFile(path).value(), "whole\n");
  unlink(path.c_str());
}

}  // namespace
}  // namespace hone::coordinator
