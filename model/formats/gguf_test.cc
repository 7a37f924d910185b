#include "model/formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/formats/gguf_test_file.h"

namespace hone::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ErrorOf(const std::string& contents) {
  const auto file = GgufFile::Parse(contents, "model.gguf");
  if (file.ok()) return "(accepted)";
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("model.gguf"));
  return std::string(file.status().message());
}

GgufTestFile SmallFile() {
  GgufTestFile file;
  file.String("general.architecture", "llama");
  file.Int("n", 7);
  file.Float("x", 0.5f);
  file.Bool("yes", true);
  file.Strings("words", {"a", "", "Ġb"});
  file.Ints("types", {1, -3});
  file.F32Tensor("w", {2, 3}, {1, 2, 3, 4, 5, 6});
  file.F32Tensor("v", {1}, {9});
  return file;
}

TEST(GgufTest, MetadataAndTensorsAreRead) {
  const std::string contents = SmallFile().Finish();
  const auto file = GgufFile::Parse(contents, "f");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*(*file)->GetString("general.architecture"), "llama");
  EXPECT_EQ(*(*file)->GetInt("n"), 7);
  EXPECT_EQ(*(*file)->GetFloat("x"), 0.5);
  EXPECT_TRUE(*(*file)->GetBool("yes"));
  EXPECT_THAT(**(*file)->GetStrings("words"), ElementsAre("a", "", "Ġb"));
  EXPECT_THAT(*(*file)->GetInts("types"), ElementsAre(1, -3));
  EXPECT_EQ((*file)->GetInt("missing").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ((*file)->GetInt("x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*file)->GetString("n").status().code(), absl::StatusCode::kInvalidArgument);
  const GgufTensor* w = (*file)->FindTensor("w");
  ASSERT_NE(w, nullptr);
  EXPECT_THAT(w->shape, ElementsAre(2, 3));
  std::vector<float> values(6);
  ASSERT_TRUE((*file)->ReadAsF32(*w, values.data()).ok());
  EXPECT_THAT(values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(GgufTest, EveryTruncationIsRefused) {
  const std::string whole = SmallFile().Finish();
  ASSERT_EQ(ErrorOf(whole), "(accepted)");
  const size_t data_end = whole.size() - 28;  // the last tensor's 4 bytes; padding follows
  for (size_t size = 0; size < data_end; ++size) {
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(GgufFile::Parse({cut.data(), cut.size()}, "f").ok()) << size;
  }
}

TEST(GgufTest, EveryByteMayBeAnything) {
  const std::string whole = SmallFile().Finish();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const char byte : {'\x00', '\x01', '\x7f', '\xff'}) {
      std::string changed = whole;
      changed[i] = byte;
      const auto file = GgufFile::Parse(changed, "f");  // no crash, no huge allocation
      if (!file.ok()) continue;
      for (const GgufTensor& tensor : (*file)->tensors()) {
        std::vector<float> values(static_cast<size_t>(tensor.element_count));
        (*file)->ReadAsF32(tensor, values.data()).IgnoreError();
      }
    }
  }
}

TEST(GgufTest, HostileFilesAreRefused) {
  const auto with = [](auto&& change) {
    GgufTestFile file;
    change(file);
    return ErrorOf(file.Finish());
  };
  using File = GgufTestFile;
  EXPECT_THAT(ErrorOf(""), HasSubstr("GGUF"));
  EXPECT_THAT(ErrorOf("GGUF" + File::Raw(1) + std::string(16, '\0')), HasSubstr("version 2 or 3, found 1"));
  EXPECT_THAT(ErrorOf("GGUF" + File::Raw(3) + File::Raw(~0ull) + File::Raw(0ull)), HasSubstr("announced"));
  EXPECT_THAT(ErrorOf("GGUF" + File::Raw(3) + File::Raw(0ull) + File::Raw(~0ull)), HasSubstr("announced"));
  EXPECT_THAT(with([](File& f) { f.Entry("k", 99, "1234"); }), HasSubstr("unknown value type 99"));
  EXPECT_THAT(with([](File& f) { f.Entry("k", 8, File::Raw(~0ull)); }), HasSubstr("'k'"));
  EXPECT_THAT(with([](File& f) { f.Entry("k", 7, "\2"); }), HasSubstr("bool"));
  EXPECT_THAT(with([](File& f) { f.Entry("k", 9, File::Raw(4u) + File::Raw(~0ull)); }), HasSubstr("truncated"));
  EXPECT_THAT(with([](File& f) { f.Entry("k", 9, File::Raw(8u) + File::Raw(1ull << 60)); }), HasSubstr("truncated"));
  EXPECT_THAT(with([](File& f) { f.Entry("k", 9, File::Raw(9u) + File::Raw(1ull)); }), HasSubstr("arrays of arrays"));
  EXPECT_THAT(with([](File& f) { f.Int("k", 1), f.Int("k", 1); }), HasSubstr("twice"));
  EXPECT_THAT(with([](File& f) { f.Int("general.alignment", 0); }), HasSubstr("power of two"));
  EXPECT_THAT(with([](File& f) { f.Int("general.alignment", 48); }), HasSubstr("power of two"));
  EXPECT_THAT(with([](File& f) { f.F32Tensor("t", {1}, {1}), f.F32Tensor("t", {1}, {1}); }), HasSubstr("twice"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {1, 1, 1, 1, 1}, 0, "1234"); }), HasSubstr("dimensions"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {0}, 0, ""); }), HasSubstr("dimension 0"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {1ull << 40, 1ull << 40}, 0, "1234"); }), HasSubstr("impossible"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {1000}, 0, "1234"); }), HasSubstr("beyond"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {33}, 8, std::string(68, '\0')); }), HasSubstr("whole blocks"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {32}, 4, std::string(64, '\0')); }), HasSubstr("'t'"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {32}, 4, std::string(64, '\0')); }), HasSubstr("unknown GGML type 4"));
  // Types that are not read are measured all the same: nobody may take memory for what is not in the file.
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {1ull << 40}, 12, std::string(144, '\0')); }), HasSubstr("beyond"));
  EXPECT_THAT(with([](File& f) { f.Tensor("t", {1ull << 30, 1ull << 30}, 8, "1234"); }), HasSubstr("beyond"));
  EXPECT_THAT(with([](File& f) {
                f.Tensor("t", {1ull << 20, 1ull << 20, 1ull << 20, 2}, 1, "12");
              }),
              HasSubstr("impossible dimension"));
  for (const uint32_t element : {0u, 4u, 6u, 7u, 8u, 10u, 12u}) {
    for (const uint64_t count : {1ull << 20, 1ull << 61, ~0ull, ~0ull / 8 + 2}) {
      EXPECT_THAT(with([&](File& f) { f.Entry("k", 9, File::Raw(element) + File::Raw(count)); }),
                  HasSubstr("truncated"))
          << element << " " << count;
    }
  }
  std::string huge_name = "GGUF" + File::Raw(3) + File::Raw(1ull) + File::Raw(0ull) + File::Raw(~0ull - 7);
  EXPECT_THAT(ErrorOf(huge_name + std::string(64, 'x')), HasSubstr("tensor name"));
  std::string overlap = "GGUF" + File::Raw(3) + File::Raw(2ull) + File::Raw(0ull);
  for (const char* name : {"a", "b"}) {
    overlap += File::Text(name) + File::Raw(1u) + File::Raw(4ull) + File::Raw(0u) + File::Raw(0ull);
  }
  overlap.resize((overlap.size() + 31) / 32 * 32 + 16);
  EXPECT_THAT(ErrorOf(overlap), HasSubstr("overlap"));
}

// One block of each quantised type, values worked out by hand from GGML's definitions.
TEST(GgufTest, BlocksAreDequantised) {
  const std::string scale = GgufTestFile::Raw(F32ToF16(0.5f));
  const std::string minimum = GgufTestFile::Raw(F32ToF16(-3.0f));
  std::string nibbles;  // element i is i % 16 in the low half, 15 - i in the high half
  for (int i = 0; i < 16; ++i) nibbles.push_back(static_cast<char>(i | (15 - i) << 4));
  std::string bytes;
  for (int i = 0; i < 32; ++i) bytes.push_back(static_cast<char>(i - 16));
  GgufTestFile file;
  file.Tensor("q4_0", {32}, 2, scale + nibbles);
  file.Tensor("q4_1", {32}, 3, scale + minimum + nibbles);
  file.Tensor("q5_0", {32}, 6, scale + GgufTestFile::Raw(0x0000ffffu) + nibbles);  // fifth bit set in the first half
  file.Tensor("q8_0", {2, 32}, 8, scale + bytes + scale + bytes);
  file.Tensor("bf16", {2}, 30, GgufTestFile::Raw(F32ToBf16(1.5f)) + GgufTestFile::Raw(F32ToBf16(-2.0f)));
  file.Tensor("f16", {1}, 1, GgufTestFile::Raw(F32ToF16(0.25f)));
  file.Tensor("q6_k", {256}, 14, std::string(210, 'x'));
  const std::string contents = file.Finish();
  const auto gguf = GgufFile::Parse(contents, "f");
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  const auto read = [&](const char* name) {
    const GgufTensor* tensor = (*gguf)->FindTensor(name);
    std::vector<float> values(static_cast<size_t>(tensor->element_count));
    EXPECT_TRUE((*gguf)->ReadAsF32(*tensor, values.data()).ok()) << name;
    return values;
  };
  for (int i = 0; i < 16; ++i) {
    const auto low = static_cast<float>(i);
    const auto high = static_cast<float>(15 - i);
    EXPECT_EQ(read("q4_0")[i], 0.5f * (low - 8));
    EXPECT_EQ(read("q4_0")[i + 16], 0.5f * (high - 8));
    EXPECT_EQ(read("q4_1")[i], 0.5f * low - 3);
    EXPECT_EQ(read("q4_1")[i + 16], 0.5f * high - 3);
    EXPECT_EQ(read("q5_0")[i], 0.5f * low);  // + 16 - 16
    EXPECT_EQ(read("q5_0")[i + 16], 0.5f * (high - 16));
  }
  for (int i = 0; i < 64; ++i) EXPECT_EQ(read("q8_0")[i], 0.5f * static_cast<float>(i % 32 - 16));
  EXPECT_THAT(read("bf16"), ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(read("f16"), ElementsAre(0.25f));
  float out[256];
  const absl::Status status = (*gguf)->ReadAsF32(*(*gguf)->FindTensor("q6_k"), out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::AllOf(HasSubstr("'q6_k'"), HasSubstr("type Q6_K")));
  EXPECT_EQ(GgmlTypeName(12), "Q4_K");
  EXPECT_EQ(GgmlTypeName(4), "unknown");
}

}  // namespace
}  // namespace hone::model
