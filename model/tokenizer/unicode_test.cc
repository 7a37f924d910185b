#include "model/tokenizer/unicode.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace hone::model {
namespace {

TEST(UnicodeTest, EveryCodePointThereAndBack) {
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    AppendUtf8(c, &text);
    size_t position = 0;
    ASSERT_EQ(NextCodePoint(text, &position), c);
    ASSERT_EQ(position, text.size());
    const Utf8Front front = ReadUtf8Front(text);
    ASSERT_TRUE(front.kind == Utf8Kind::kCharacter && front.size == text.size()) << static_cast<uint32_t>(c);
    for (size_t size = 1; size < text.size(); ++size) {
      const Utf8Front part = ReadUtf8Front(std::string_view(text).substr(0, size));
      ASSERT_TRUE(part.kind == Utf8Kind::kIncomplete && part.size == size) << static_cast<uint32_t>(c);
    }
  }
}

// The examples of Unicode 15, section 3.9, tables 3-8 to 3-11: one U+FFFD for each maximal subpart.
TEST(UnicodeTest, IllFormedTextBecomesReplacementCharacters) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(ToValidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ToValidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ToValidUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(ToValidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(ToValidUtf8("caf\xC3"), "caf" + r);
  EXPECT_EQ(ToValidUtf8(""), "");
}

TEST(UnicodeTest, EveryPairOfBytesBecomesValid) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string bytes = {static_cast<char>(a), static_cast<char>(b), 'x'};
      const std::string valid = ToValidUtf8(bytes);
      ASSERT_TRUE(IsValidUtf8(valid)) << a << " " << b;
      ASSERT_EQ(valid == bytes, IsValidUtf8(bytes)) << a << " " << b;
    }
  }
}

TEST(UnicodeTest, ByteAlphabetIsOneToOne) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  std::string piece;
  AppendByteLevel(all, &piece);
  EXPECT_EQ(BytesOfPiece(piece), all);
  EXPECT_EQ(BytesOfPiece("Ġthe"), " the");
  EXPECT_EQ(BytesOfPiece("Ċ"), "\n");
  // A space or a Chinese character is outside the alphabet: the piece stands for itself.
  EXPECT_EQ(BytesOfPiece("Ġ 漢"), "Ġ 漢");
}

TEST(UnicodeTest, Nfc) {
  std::string out;
  EXPECT_FALSE(NormalizeNfc("plain ascii, café, 漢字, 가, 😀", &out));
  ASSERT_TRUE(NormalizeNfc("e\xCC\x81", &out));
  EXPECT_EQ(out, "\xC3\xA9");
  ASSERT_TRUE(NormalizeNfc("q\xCC\x87\xCC\xA3", &out));  // marks are put in order: below before above
  EXPECT_EQ(out, "q\xCC\xA3\xCC\x87");
  ASSERT_TRUE(NormalizeNfc("\xE1\x84\x80\xE1\x85\xA1", &out));  // Hangul jamo
  EXPECT_EQ(out, "\xEA\xB0\x80");
  ASSERT_TRUE(NormalizeNfc(std::string("\0e\xCC\x81", 4), &out));  // a zero byte ends nothing
  EXPECT_EQ(out, std::string("\0\xC3\xA9", 3));
}

TEST(UnicodeTest, Properties) {
  for (const char32_t c : {U' ', U'\t', U'\u0085', U'\u00a0', U'\u3000'}) EXPECT_TRUE(IsWhitespace(c));
  for (const char32_t c : {U'\u180e', U'\u200b', U'\x1c', U'a'}) EXPECT_FALSE(IsWhitespace(c));
  for (const char32_t c : {U'7', U'\u00bd', U'\u2167', U'\u0663'}) EXPECT_TRUE(IsNumeric(c));
  EXPECT_FALSE(IsNumeric(U'a'));
  for (const char32_t c : {U'a', U'_', U'\u0301', U'\u24b6', U'\u200d', U'漢'}) EXPECT_TRUE(IsWord(c));
  for (const char32_t c : {U'-', U' ', U'\u00bd', U'€'}) EXPECT_FALSE(IsWord(c));
}

}  // namespace
}  // namespace hone::model
