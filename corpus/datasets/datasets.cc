#include "corpus/datasets/datasets.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/status.h"
#include "base/strings.h"
#include "base/subprocess.h"

namespace hone::corpus {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kDownloadTimeout = absl::Minutes(10);

// The path of `program` by $PATH; "" where it is not there.
std::string FindProgram(const std::string& program) {
  const char* path = std::getenv("PATH");
  if (path == nullptr) return "";
  for (const absl::string_view folder : absl::StrSplit(path, ':', absl::SkipEmpty())) {
    const std::string candidate = JoinPath(FromAbsl(folder), program);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

absl::StatusOr<std::string> Download(const std::string& url, const std::string& work_path) {
  const std::string curl = FindProgram("curl");
  if (curl.empty())
    return absl::UnavailableError("curl is not installed: install it, or give --from DIR (or $HONE_DATA)");
  SubprocessOptions options;
  options.argv = {curl,      "--fail", "--silent",       "--show-error", "--location", "--proto", "=https,file",
                  "--retry", "2",      "--max-filesize", "200M",         "--output",   work_path, url};
  HONE_ASSIGN_OR_RETURN(const std::unique_ptr<Subprocess> process, Subprocess::Start(options));
  const std::optional<int> exit = process->Wait(kDownloadTimeout);
  absl::StatusOr<std::string> text =
      exit.has_value() && *exit == 0 ? ReadFile(work_path) : absl::StatusOr<std::string>("");
  unlink(work_path.c_str());
  if (!exit.has_value()) return absl::UnavailableError(absl::StrCat(url, ": not fetched within 10 minutes"));
  if (*exit != 0) {
    return absl::UnavailableError(absl::StrCat(url, ": curl ended with exit code ", *exit,
                                               "; without a network give --from DIR (or $HONE_DATA)"));
  }
  return text;
}

absl::Status CheckHash(const std::string& name, const std::string& text, const std::string& expected) {
  const std::string actual = Sha256Hex(text);
  if (actual == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": not the expected file: its SHA-256 is ", actual, ", expected ", expected));
}

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

struct Row {
  std::string prompt;
  std::string answer;
  std::string solution;
};

// A row of either form: published {"question", "answer": "solution #### number"} or local {"problem", "answer",
// "solution"}.
absl::StatusOr<Row> ReadRow(const std::string& line, bool published) {
  const Json json = Json::parse(line, nullptr, false);
  const auto text = [&](const char* key) -> absl::StatusOr<std::string> {
    const auto it = json.is_object() ? json.find(key) : json.end();
    if (!json.is_object() || it == json.end() || !it->is_string()) {
      return absl::InvalidArgumentError(absl::StrCat("expected an object with the text '", key, "'"));
    }
    return it->get<std::string>();
  };
  Row row;
  HONE_ASSIGN_OR_RETURN(row.prompt, text(published ? "question" : "problem"));
  HONE_ASSIGN_OR_RETURN(row.answer, text("answer"));
  if (!published) {
    HONE_ASSIGN_OR_RETURN(row.solution, text("solution"));
    return row;
  }
  const size_t mark = row.answer.rfind("####");
  if (mark == std::string::npos) return absl::InvalidArgumentError("expected '#### <number>' at the end of the answer");
  row.solution = std::string(absl::StripTrailingAsciiWhitespace(row.answer.substr(0, mark)));
  row.answer = absl::StrReplaceAll(absl::StripAsciiWhitespace(row.answer.substr(mark + 4)), {{",", ""}});
  return row;
}

absl::StatusOr<std::string> Convert(const DatasetPart& part, const std::string& name, const std::string& text,
                                    bool published) {
  std::string out;
  int64_t rows = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const absl::StatusOr<Row> row = ReadRow(std::string(line), published);
    if (!row.ok()) return Annotate(row.status(), absl::StrCat(name, ":", rows + 1));
    Json json;
    json["id"] = absl::StrCat(part.prefix, rows);
    json["prompt"] = row->prompt;
    json["answer"] = row->answer;
    json["completion"] =
        absl::StrCat("<think>\n", WithoutMarks(row->solution), "\n</think>\n<answer> ", row->answer, " </answer>");
    absl::StrAppend(&out, json.dump(-1, ' ', false, Json::error_handler_t::replace), "\n");
    ++rows;
  }
  if (rows != part.rows) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", part.rows, " rows, got ", rows));
  }
  return out;
}

}  // namespace

const std::vector<DatasetEntry>& KnownDatasets() {
  static const auto* const kDatasets = [] {
    const std::string base =
        "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
        "grade_school_math/data/";
    return new std::vector<DatasetEntry>{
        {"gsm8k",
         "MIT, Copyright (c) 2021 OpenAI",
         "github.com/openai/grade-school-math (Cobbe et al., arXiv:2110.14168)",
         {{"train.jsonl", "gsm8k/train/", 7473, base + "train.jsonl",
           "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465", "gsm8k_train.jsonl",
           "9ff765a9c8c9552badd39416164d95805d111fce6dddbd0ea6a9aed93aef0e93"},
          {"test.jsonl", "gsm8k/test/", 1319, base + "test.jsonl",
           "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14", "gsm8k_test.jsonl",
           "ce35cb0a9a91d71b18226a8112dc6e49be41b189ceeb72021391c73630f6fd23"}}}};
  }();
  return *kDatasets;
}

absl::StatusOr<DatasetEntry> FindDataset(const std::string& name) {
  std::vector<std::string> known;
  for (const DatasetEntry& entry : KnownDatasets()) {
    if (entry.name == name) return entry;
    known.push_back(entry.name);
  }
  std::string list;
  for (const std::string& other : known) absl::StrAppend(&list, list.empty() ? "" : ", ", other);
  return absl::NotFoundError(absl::StrCat("no data set is called '", name, "'; known: ", list));
}

absl::Status GetDataset(const DatasetEntry& entry, const std::string& from_dir, const std::string& out_dir) {
  HONE_RETURN_IF_ERROR(CreateDirectories(out_dir));
  const bool published = from_dir.empty();
  for (const DatasetPart& part : entry.parts) {
    const std::string name = published ? part.url : JoinPath(from_dir, part.local_name);
    const std::string out_path = JoinPath(out_dir, part.output);
    absl::StatusOr<std::string> text = published ? Download(part.url, out_path + ".download") : ReadFile(name);
    if (!text.ok()) return text.status();
    HONE_RETURN_IF_ERROR(CheckHash(name, *text, published ? part.url_sha256 : part.local_sha256));
    HONE_ASSIGN_OR_RETURN(const std::string converted, Convert(part, name, *text, published));
    HONE_RETURN_IF_ERROR(WriteFileAtomic(out_path, converted));
  }
  return absl::OkStatus();
}

}  // namespace hone::corpus
