// The rows of SVAMP's experiment (Patel et al., arXiv:2103.07191): one-unknown word problems of MAWPS, ASDiv-A and
// SVAMP.
//
// A row gives the problem's text with places for its numbers ("number0"), the numbers, and an equation in prefix form
// ("- number0 * number1 number2"). The working is the equation's operations, innermost first, one a line. Left out are
// rows outside whole numbers (the file has them rounded), rows whose equation does not give their answer, and texts
// seen before.
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "corpus/datasets/csv.h"
#include "corpus/datasets/problem_rows.h"

namespace hone::corpus::internal {
namespace {

constexpr double kLargestWhole = 1e12;

std::optional<int64_t> Whole(double value) {
  if (!(std::abs(value) <= kLargestWhole) || value != std::floor(value)) return std::nullopt;
  return static_cast<int64_t>(value);
}

std::optional<int64_t> WholeFromText(const std::string& text) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value)) return std::nullopt;
  return Whole(value);
}

std::vector<std::string> Words(const std::string& text) { return absl::StrSplit(text, ' ', absl::SkipEmpty()); }

// Evaluates prefix notation and writes down each operation. Nothing for an equation that is malformed or leaves the
// whole numbers.
class Equation {
 public:
  Equation(const std::string& text, const std::vector<int64_t>& numbers) : tokens_(Words(text)), numbers_(numbers) {}

  std::optional<int64_t> Evaluate() {
    const std::optional<int64_t> value = Next();
    return at_ == tokens_.size() ? value : std::nullopt;
  }

  // "56 * 9 = 504", one line for each operation; the value alone where there is none.
  std::string Working(int64_t value) const { return lines_.empty() ? absl::StrCat(value) : lines_; }

 private:
  static constexpr int kDeepest = 32;

  std::optional<int64_t> Next() {
    if (at_ >= tokens_.size() || depth_ >= kDeepest) return std::nullopt;
    const std::string& token = tokens_[at_++];
    if (token.size() != 1 || absl::string_view("+-*/").find(token[0]) == absl::string_view::npos) return Operand(token);
    ++depth_;
    const std::optional<int64_t> left = Next();
    const std::optional<int64_t> right = left.has_value() ? Next() : std::nullopt;
    --depth_;
    if (!right.has_value()) return std::nullopt;
    const std::optional<int64_t> value = Apply(token[0], static_cast<double>(*left), static_cast<double>(*right));
    if (value.has_value()) {
      absl::StrAppend(&lines_, lines_.empty() ? "" : "\n", *left, " ", token, " ", *right, " = ", *value);
    }
    return value;
  }

  std::optional<int64_t> Operand(const std::string& token) const {
    if (!token.starts_with("number")) return WholeFromText(token);
    size_t index = 0;
    if (!absl::SimpleAtoi(token.substr(6), &index) || index >= numbers_.size()) return std::nullopt;
    return numbers_[index];
  }

  static std::optional<int64_t> Apply(char operation, double a, double b) {
    switch (operation) {
      case '+':
        return Whole(a + b);
      case '-':
        return Whole(a - b);
      case '*':
        return Whole(a * b);
      default:
        return b == 0 ? std::nullopt : Whole(a / b);
    }
  }

  std::vector<std::string> tokens_;
  const std::vector<int64_t>& numbers_;
  size_t at_ = 0;
  int depth_ = 0;
  std::string lines_;
};

// The text with its numbers in place and without the blanks that the file puts before punctuation.
std::string Prompt(const std::string& text, const std::vector<int64_t>& numbers) {
  std::string prompt;
  for (const std::string& word : Words(text)) {
    size_t index = 0;
    std::string shown = word;
    if (word.starts_with("number") && absl::SimpleAtoi(word.substr(6), &index) && index < numbers.size()) {
      shown = absl::StrCat(numbers[index]);
    }
    absl::StrAppend(&prompt, prompt.empty() ? "" : " ", shown);
  }
  // "m & m 's .": two passes, for the matches share a blank.
  prompt = absl::StrReplaceAll(prompt, {{" 's ", "'s "}});
  return absl::StrReplaceAll(prompt, {{" .", "."}, {" ,", ","}, {" ?", "?"}, {" !", "!"}, {" %", "%"}, {" ;", ";"}});
}

}  // namespace

absl::StatusOr<std::vector<ProblemRow>> ReadSvampCsv(const std::string& text) {
  HONE_ASSIGN_OR_RETURN(const std::vector<CsvRecord> records, ParseCsv(text));
  if (records.empty()) return absl::InvalidArgumentError("1: expected a line of column names");
  std::map<std::string, size_t> columns;
  for (size_t i = 0; i < records[0].fields.size(); ++i) columns[records[0].fields[i]] = i;
  for (const char* name : {"Question", "Numbers", "Equation", "Answer"}) {
    if (!columns.contains(name)) return absl::InvalidArgumentError(absl::StrCat("1: expected a column '", name, "'"));
  }
  std::vector<ProblemRow> rows;
  std::set<std::string> seen;
  for (size_t i = 1; i < records.size(); ++i) {
    const std::vector<std::string>& fields = records[i].fields;
    if (fields.size() != records[0].fields.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(records[i].line, ": expected ", records[0].fields.size(), " fields, got ", fields.size()));
    }
    std::vector<int64_t> numbers;
    bool whole = true;
    for (const std::string& word : Words(fields[columns["Numbers"]])) {
      const std::optional<int64_t> number = WholeFromText(word);
      whole = whole && number.has_value();
      numbers.push_back(number.value_or(0));
    }
    Equation equation(fields[columns["Equation"]], numbers);
    const std::optional<int64_t> value = whole ? equation.Evaluate() : std::nullopt;
    if (!value.has_value() || value != WholeFromText(fields[columns["Answer"]])) continue;
    ProblemRow row;
    row.prompt = Prompt(fields[columns["Question"]], numbers);
    if (!seen.insert(row.prompt).second) continue;
    row.answer = absl::StrCat(*value);
    row.solution = equation.Working(*value);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace hone::corpus::internal
