#include "base/json_rows.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

std::string Error(std::string_view line) { return std::string(ParseJsonRow(line).status().message()); }

TEST(JsonRowsTest, ARowIsOneObject) {
  EXPECT_EQ((*ParseJsonRow("{\"a\": {\"a\": 1}}"))["a"]["a"], 1);
  EXPECT_EQ(Error("[]"), "expected a JSON object");
  EXPECT_EQ(Error("{\"a\": 1, \"a\": 2}"), "key 'a' appears twice");
  EXPECT_EQ(Error("\xff"), "not UTF-8");
  EXPECT_EQ(Error("{broken").substr(0, 10), "not JSON: ");
}

std::string Id(const std::string& value) {
  const auto id = RowId(*ParseJsonRow("{\"id\": " + value + "}"), "id", 12);
  return id.ok() ? *id : std::string(id.status().message());
}

TEST(JsonRowsTest, ARowWithoutAnIdHasItsLinesNumber) {
  EXPECT_EQ(*RowId(*ParseJsonRow("{}"), "id", 12), "12");
  EXPECT_EQ(Id("null"), "12");
  EXPECT_EQ(Id("\"\""), "12");
  EXPECT_EQ(Id("\"null\""), "null");
  EXPECT_EQ(Id("3"), "3");
  EXPECT_EQ(Id("false"), "false");
  EXPECT_EQ(Id("[1]"), "key 'id': expected a string or a number, got array");
  EXPECT_EQ(Id("\"a\\nb\""), "key 'id': expected one line of at most 256 bytes");
  EXPECT_EQ(Id("\"" + std::string(256, 'a') + "\""), std::string(256, 'a'));
  EXPECT_EQ(Id("\"" + std::string(257, 'a') + "\""), "key 'id': expected one line of at most 256 bytes");
}

// A reader of JSON holds them as doubles, so that the right answer would be compared with another number.
TEST(JsonRowsTest, NumbersThatWouldBeRoundedAreRefused) {
  const auto text = [](const std::string& value) {
    return ScalarText(*ParseJsonRow("{\"answer\": " + value + "}"), "answer");
  };
  EXPECT_EQ(*text("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(*text("-0.125"), "-0.125");
  EXPECT_EQ(*text("\"123456789012345678901\""), "123456789012345678901");
  for (const char* large : {"123456789012345678901", "-123456789012345678901", "1e300"}) {
    EXPECT_EQ(text(large).status().message(),
              "key 'answer': the number has more than 63 bits, which JSON readers round: write it as a string");
  }
}

}  // namespace
}  // namespace hone
