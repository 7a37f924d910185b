#include "model/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/files.h"
#include "base/strings.h"

namespace hone::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A file of `header` (its length put before it) and `data_bytes` bytes.
std::string FileOf(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string file(sizeof(size), '\0');
  std::memcpy(file.data(), &size, sizeof(size));
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file.push_back(static_cast<char>(i));
  return file;
}

std::string ErrorOf(const std::string& contents) {
  const auto file = SafetensorsFile::Parse(contents, "weights.safetensors");
  if (file.ok()) return "(accepted)";
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("weights.safetensors"));
  return std::string(file.status().message());
}

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsTest()
      : folder_(JoinPath("safetensors_test", testing::UnitTest::GetInstance()->current_test_info()->name())) {
    EXPECT_TRUE(RemoveTree(folder_).ok());
    EXPECT_TRUE(CreateDirectories(folder_).ok());
  }
  ~SafetensorsTest() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }
  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }
  std::vector<std::string> Names() const { return *ListDirectory(folder_); }
  const std::string folder_;
};

TEST_F(SafetensorsTest, WhatIsWrittenIsRead) {
  const std::vector<float> matrix = {1.0f, 2.0f, 3.0f, -4.0f, 0.5f, 1.0f / 3.0f};
  auto writer = SafetensorsWriter::Create(Path("a.safetensors"), {{"m", DType::kF32, {2, 3}},
                                                                  {"half", DType::kF16, {3, 2}},
                                                                  {"empty", DType::kBF16, {0, 7}},
                                                                  {"scalar", DType::kBF16, {}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->AppendF32("m", matrix.data(), 6).ok());
  ASSERT_TRUE((*writer)->AppendF32("half", matrix.data(), 6).ok());
  ASSERT_TRUE((*writer)->AppendF32("empty", nullptr, 0).ok());
  ASSERT_TRUE((*writer)->AppendF32("scalar", matrix.data() + 3, 1).ok());
  EXPECT_FALSE(FileExists(Path("a.safetensors"))) << "the file has its name before it is whole";
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_THAT(Names(), ElementsAre("a.safetensors"));

  const auto file = SafetensorsFile::Open(Path("a.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->metadata().at("format"), "pt");
  ASSERT_EQ((*file)->tensors().size(), 4u);
  const TensorInfo* m = (*file)->Find("m");
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(m->element_count, 6);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(m->bytes.data()) % 8, 0u) << "data are not aligned";
  EXPECT_EQ((*file)->Find("scalar")->element_count, 1);
  std::vector<float> back(6);
  ASSERT_TRUE((*file)->ReadAsF32("m", {2, 3}, back.data()).ok());
  EXPECT_EQ(back, matrix);
  ASSERT_TRUE((*file)->ReadAsF32("half", {3, 2}, back.data()).ok());
  EXPECT_EQ(back[5], F16ToF32(F32ToF16(1.0f / 3.0f)));
  ASSERT_TRUE((*file)->ReadAsF32("empty", {0, 7}, back.data()).ok());
}

TEST_F(SafetensorsTest, ReadingNamesWhatIsWrong) {
  const std::string contents = FileOf(
      R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"i":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}})",
      16);
  const auto file = SafetensorsFile::Parse(contents, "f");
  ASSERT_TRUE(file.ok()) << file.status();
  float out[2];
  const absl::Status shape = (*file)->ReadAsF32("w", {1, 2}, out);
  EXPECT_EQ(shape.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(shape.message()), testing::AllOf(HasSubstr("'w'"), HasSubstr("[1, 2]"), HasSubstr("[2]")));
  EXPECT_THAT(std::string((*file)->ReadAsF32("i", {1}, out).message()), HasSubstr("I64"));
  EXPECT_EQ((*file)->ReadAsF32("v", {2}, out).code(), absl::StatusCode::kNotFound);
}

TEST_F(SafetensorsTest, HostileHeadersAreRefused) {
  const auto one = [](const std::string& entry, size_t bytes) {
    return ErrorOf(FileOf("{\"w\":" + entry + "}", bytes));
  };
  EXPECT_THAT(ErrorOf(""), HasSubstr("8 bytes"));
  EXPECT_THAT(ErrorOf(std::string(8, '\xff')), HasSubstr("over the limit"));
  EXPECT_THAT(ErrorOf(std::string("\x10\0\0\0\0\0\0\0{}", 10)), HasSubstr("truncated"));
  // Lengths just within and just beyond what is accepted and what is there.
  EXPECT_THAT(ErrorOf(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)), HasSubstr("over the limit of 100000000"));
  EXPECT_THAT(ErrorOf(std::string("\x00\xe1\xf5\x05\0\0\0\0{}", 10)), HasSubstr("truncated"));
  EXPECT_THAT(ErrorOf(std::string("\x03\0\0\0\0\0\0\0{}", 10)), HasSubstr("truncated"));
  EXPECT_THAT(ErrorOf(FileOf("", 0)), HasSubstr("JSON"));
  EXPECT_THAT(ErrorOf(FileOf("[]", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf(FileOf("{} x", 0)), HasSubstr("JSON"));
  EXPECT_THAT(ErrorOf(FileOf("{\"w\":\"\xff\"}", 0)), HasSubstr("JSON"));
  EXPECT_THAT(ErrorOf(FileOf("{\"w\":" + std::string(100000, '['), 0)), HasSubstr("nested"));
  EXPECT_THAT(ErrorOf(FileOf("{}", 1)), HasSubstr("1 bytes behind"));
  EXPECT_THAT(ErrorOf(FileOf(R"({"__metadata__":{"a":1}})", 0)), HasSubstr("not a string"));
  EXPECT_THAT(ErrorOf(FileOf(R"({"__metadata__":1})", 0)), HasSubstr("__metadata__"));
  EXPECT_THAT(one("1", 0), HasSubstr("expected an object"));
  EXPECT_THAT(one(R"({"shape":[1],"data_offsets":[0,4]})", 4), HasSubstr("dtype"));
  EXPECT_THAT(one(R"({"dtype":"F12","shape":[1],"data_offsets":[0,4]})", 4), HasSubstr("F12"));
  EXPECT_THAT(one(R"({"dtype":"F32","data_offsets":[0,4]})", 4), HasSubstr("shape"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4), HasSubstr("whole number"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4), HasSubstr("whole number"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]})", 4), HasSubstr("too large"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[2305843009213693951,2],"data_offsets":[0,0]})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", 4), HasSubstr("data_offsets"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4), HasSubstr("not within"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 4), HasSubstr("not within"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]})", 4),
              HasSubstr("not within"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})", 8), HasSubstr("takes 4"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8), HasSubstr("hole"));
  const std::string w = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_THAT(ErrorOf(FileOf("{\"a\":" + w + ",\"b\":" + w + "}", 4)), HasSubstr("overlap"));
  EXPECT_THAT(ErrorOf(FileOf("{\"a\":" + w + ",\"a\":" + w + "}", 4)), HasSubstr("twice"));
  EXPECT_EQ(one(w, 4), "(accepted)");
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string whole = FileOf(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
      12);
  ASSERT_EQ(ErrorOf(whole), "(accepted)");
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own size, so that a sanitizer sees a read beyond the end.
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(SafetensorsFile::Parse({cut.data(), cut.size()}, "f").ok()) << size;
  }
}

TEST_F(SafetensorsTest, AWriterRefusesWhatWasNotDeclared) {
  EXPECT_FALSE(SafetensorsWriter::Create(Path("x"), {{"a", DType::kF32, {1}}, {"a", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::Create(Path("x"), {{"a", DType::kF32, {-1}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::Create(Path("x"), {{"__metadata__", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::Create(Path("no/such/folder/x"), {}).ok());
  {
    auto writer = SafetensorsWriter::Create(Path("x"), {{"a", DType::kF32, {2}}, {"b", DType::kI8, {1}}});
    ASSERT_TRUE(writer.ok());
    const float values[2] = {1, 2};
    EXPECT_EQ((*writer)->AppendF32("b", values, 1).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ((*writer)->AppendF32("a", values, 1).code(), absl::StatusCode::kInvalidArgument);
    ASSERT_TRUE((*writer)->AppendF32("a", values, 2).ok());
    EXPECT_EQ((*writer)->AppendF32("b", values, 1).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string((*writer)->Finish().message()), HasSubstr("'b'"));
  }
  EXPECT_THAT(Names(), ElementsAre()) << "an unfinished writer left something behind";
}

std::vector<float> Ramp(size_t count, float start) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), start);
  return values;
}

absl::Status WriteSharded(const std::string& folder, uint64_t max_shard_bytes) {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 5; ++i) specs.push_back({"t" + std::to_string(i), DType::kF32, {i + 1, 4}});
  HONE_ASSIGN_OR_RETURN(auto writer, ShardedSafetensorsWriter::Create(folder, specs, max_shard_bytes));
  for (int i = 0; i < 5; ++i) {
    const std::vector<float> values = Ramp(static_cast<size_t>(i + 1) * 4, static_cast<float>(100 * i));
    HONE_RETURN_IF_ERROR(writer->AppendF32("t" + std::to_string(i), values.data(), values.size()));
  }
  return writer->Finish();
}

void ExpectSharded(const std::string& folder) {
  const auto model = ShardedSafetensors::Open(folder);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->names(), ElementsAre("t0", "t1", "t2", "t3", "t4"));
  for (int i = 0; i < 5; ++i) {
    std::vector<float> values(static_cast<size_t>(i + 1) * 4);
    ASSERT_TRUE((*model)->ReadAsF32("t" + std::to_string(i), {i + 1, 4}, values.data()).ok());
    EXPECT_EQ(values, Ramp(values.size(), static_cast<float>(100 * i)));
  }
  float out;
  EXPECT_EQ((*model)->ReadAsF32("t5", {1}, &out).code(), absl::StatusCode::kNotFound);
}

TEST_F(SafetensorsTest, ShardsAndOneFileReplaceEachOther) {
  ASSERT_TRUE(WriteSharded(folder_, 100).ok());  // 16+32+48 | 64 | 80 bytes
  EXPECT_THAT(Names(), ElementsAre("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                   "model-00003-of-00003.safetensors", "model.safetensors.index.json"));
  ExpectSharded(folder_);
  ASSERT_TRUE(WriteSharded(folder_, 1000).ok());
  EXPECT_THAT(Names(), ElementsAre("model.safetensors"));
  ExpectSharded(folder_);
  ASSERT_TRUE(WriteSharded(folder_, 1).ok());  // each tensor is larger than a shard may be: one each
  EXPECT_EQ(Names().size(), 6u);
  ExpectSharded(folder_);
}

TEST_F(SafetensorsTest, AnIndexMustAgreeWithItsShards) {
  EXPECT_EQ(ShardedSafetensors::Open(folder_).status().code(), absl::StatusCode::kNotFound);
  const std::string a = FileOf(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
  ASSERT_TRUE(WriteFileAtomic(Path("1.safetensors"), a).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("2.safetensors"), a).ok());
  const auto error_with = [&](const std::string& weight_map) {
    EXPECT_TRUE(WriteFileAtomic(Path("model.safetensors.index.json"), "{\"weight_map\":" + weight_map + "}").ok());
    const auto model = ShardedSafetensors::Open(folder_);
    return model.ok() ? std::string("(accepted)") : std::string(model.status().message());
  };
  EXPECT_EQ(error_with(R"({"a":"1.safetensors"})"), "(accepted)");
  EXPECT_THAT(error_with(R"({"a":"1.safetensors","b":"2.safetensors"})"), HasSubstr("'a'"));
  EXPECT_THAT(error_with(R"({"a":"1.safetensors","b":"1.safetensors"})"), HasSubstr("the file lacks it"));
  EXPECT_THAT(error_with(R"({"b":"1.safetensors"})"), HasSubstr("does not list"));
  EXPECT_THAT(error_with(R"({"a":"../1.safetensors"})"), HasSubstr("same folder"));
  EXPECT_THAT(error_with(R"({"a":"/etc/passwd"})"), HasSubstr("same folder"));
  EXPECT_THAT(error_with(R"({"a":7})"), HasSubstr("'a'"));
  EXPECT_THAT(error_with(R"({"a":"3.safetensors"})"), HasSubstr("3.safetensors"));
  EXPECT_THAT(error_with("{}"), HasSubstr("weight_map"));
}

}  // namespace
}  // namespace hone::model
