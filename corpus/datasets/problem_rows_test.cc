#include "corpus/datasets/problem_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corpus/datasets/csv.h"

namespace hone::corpus::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Csv, FieldsMayHoldCommasQuotesAndLineEnds) {
  const auto records = ParseCsv("a,\"b, \"\"c\"\"\",\r\n\"two\nlines\",,d\nlast");
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 3u);
  EXPECT_THAT((*records)[0].fields, ElementsAre("a", "b, \"c\"", ""));
  EXPECT_THAT((*records)[1].fields, ElementsAre("two\nlines", "", "d"));
  EXPECT_THAT((*records)[2].fields, ElementsAre("last"));
  EXPECT_EQ((*records)[1].line, 2);
  EXPECT_EQ((*records)[2].line, 4);
  EXPECT_TRUE(ParseCsv("")->empty());
}

TEST(Csv, BadQuotesAreNamedByLine) {
  EXPECT_EQ(ParseCsv("a\nb,\"c").status().message(), "2: a quote that is never closed");
  EXPECT_EQ(ParseCsv("a\nb\"c").status().message(), "2: a quote inside a field that does not start with one");
  EXPECT_EQ(ParseCsv("\"a\nb\"c").status().message(), "2: text after a closing quote");
}

constexpr const char* kHeader = "Question,Numbers,Equation,Answer,Body\n";

std::vector<ProblemRow> Svamp(const std::string& lines) {
  auto rows = ReadSvampCsv(kHeader + lines);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *std::move(rows) : std::vector<ProblemRow>();
}

TEST(SvampCsv, NumbersGoInAndTheEquationBecomesTheWorking) {
  const auto rows = Svamp(
      "\"Conner has number0 dollars , and spends number1 a month for number2 months . How much is left of Conner 's "
      "?\",25000.0 1500.0 8.0,- number0 * number1 number2,13000.0,x\n"
      "how many ?,7,number0,7.0,x\n"
      "pairs of number0 ?,6 99,/ number0 2.0,3.0,x\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].prompt,
            "Conner has 25000 dollars, and spends 1500 a month for 8 months. How much is left of Conner's?");
  EXPECT_EQ(rows[0].answer, "13000");
  EXPECT_EQ(rows[0].solution, "1500 * 8 = 12000\n25000 - 12000 = 13000");
  EXPECT_EQ(rows[1].solution, "7");
  EXPECT_EQ(rows[2].solution, "6 / 2 = 3");
}

TEST(SvampCsv, WhatCannotBeTaughtIsLeftOut) {
  EXPECT_TRUE(Svamp("a number0 ?,0.5 2,+ number0 number1,2.5,x\n").empty()) << "no whole numbers";
  EXPECT_TRUE(Svamp("a number0 ?,7 2,/ number0 number1,3.5,x\n").empty()) << "no whole result";
  EXPECT_TRUE(Svamp("a number0 ?,7 0,/ number0 number1,0,x\n").empty()) << "division by zero";
  EXPECT_TRUE(Svamp("a number0 ?,7 2,+ number0 number1,10,x\n").empty()) << "the answer is another one";
  EXPECT_TRUE(Svamp("a number0 ?,7 2,+ number0,7,x\n").empty()) << "an operand is missing";
  EXPECT_TRUE(Svamp("a number0 ?,7 2,+ number0 number5,9,x\n").empty()) << "no such number";
  EXPECT_TRUE(Svamp("a number0 ?,7 2,number0 number1,7,x\n").empty()) << "two values";
  EXPECT_EQ(Svamp("a number0 ?,7,number0,7,x\na number0 ?,7,number0,7,y\n").size(), 1u) << "said twice";
}

TEST(SvampCsv, AnotherShapeIsRefused) {
  EXPECT_EQ(ReadSvampCsv("").status().message(), "1: expected a line of column names");
  EXPECT_THAT(std::string(ReadSvampCsv("Question,Numbers\n").status().message()),
              HasSubstr("1: expected a column 'Equation'"));
  EXPECT_EQ(ReadSvampCsv(std::string(kHeader) + "a,1\n").status().message(), "2: expected 5 fields, got 2");
}

}  // namespace
}  // namespace hone::corpus::internal
