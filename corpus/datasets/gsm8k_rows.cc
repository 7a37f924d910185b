// GSM8K's rows: as published, and as a local file of problems with their solutions.
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "corpus/datasets/problem_rows.h"

namespace hone::corpus::internal {
namespace {

using Json = nlohmann::ordered_json;

// The solution without GSM8K's calculator marks ("<<48/2=24>>").
std::string WithoutMarks(const std::string& solution) {
  std::string text;
  for (size_t at = 0; at < solution.size();) {
    const size_t begin = solution.find("<<", at);
    const size_t end = begin == std::string::npos ? begin : solution.find(">>", begin);
    if (end == std::string::npos) {
      text.append(solution, at);
      break;
    }
    text.append(solution, at, begin - at);
    at = end + 2;
  }
  return text;
}

absl::StatusOr<std::string> Text(const Json& json, const char* key) {
  const auto it = json.is_object() ? json.find(key) : json.end();
  if (!json.is_object() || it == json.end() || !it->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("expected an object with the text '", key, "'"));
  }
  return it->get<std::string>();
}

// {"question", "answer": "solution #### number"}
absl::StatusOr<ProblemRow> PublishedRow(const Json& json) {
  ProblemRow row;
  HONE_ASSIGN_OR_RETURN(row.prompt, Text(json, "question"));
  HONE_ASSIGN_OR_RETURN(const std::string answer, Text(json, "answer"));
  const size_t mark = answer.rfind("####");
  if (mark == std::string::npos) return absl::InvalidArgumentError("expected '#### <number>' at the end of the answer");
  row.solution = WithoutMarks(std::string(absl::StripTrailingAsciiWhitespace(answer.substr(0, mark))));
  row.answer = absl::StrReplaceAll(absl::StripAsciiWhitespace(answer.substr(mark + 4)), {{",", ""}});
  return row;
}

// {"problem", "answer", "solution"}
absl::StatusOr<ProblemRow> LocalRow(const Json& json) {
  ProblemRow row;
  HONE_ASSIGN_OR_RETURN(row.prompt, Text(json, "problem"));
  HONE_ASSIGN_OR_RETURN(row.answer, Text(json, "answer"));
  HONE_ASSIGN_OR_RETURN(row.solution, Text(json, "solution"));
  row.solution = WithoutMarks(row.solution);
  return row;
}

absl::StatusOr<std::vector<ProblemRow>> ReadLines(
    const std::string& text, const std::function<absl::StatusOr<ProblemRow>(const Json&)>& read_row) {
  std::vector<ProblemRow> rows;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    absl::StatusOr<ProblemRow> row = read_row(Json::parse(line.begin(), line.end(), nullptr, false));
    if (!row.ok()) return Annotate(row.status(), absl::StrCat(number));
    rows.push_back(*std::move(row));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<ProblemRow>> ReadGsm8k(const std::string& text) { return ReadLines(text, PublishedRow); }

absl::StatusOr<std::vector<ProblemRow>> ReadProblemJsonl(const std::string& text) { return ReadLines(text, LocalRow); }

}  // namespace hone::corpus::internal
