#include "corpus/datasets/datasets.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/status.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "corpus/data_folder/data_folder.h"
#include "corpus/datasets/problem_rows.h"

namespace hone::corpus {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kDownloadTimeout = absl::Minutes(10);

// The path of `program` by $PATH; "" where it is not there.
std::string FindProgram(const std::string& program) {
  const char* path = std::getenv("PATH");
  if (path == nullptr) return "";
  for (const absl::string_view folder : absl::StrSplit(path, ':', absl::SkipEmpty())) {
    std::string candidate = JoinPath(FromAbsl(folder), program);
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

bool Takes(DatasetShare share, const std::string& prompt) {
  if (share == DatasetShare::kWhole) return true;
  const std::string hash = Sha256Hex(prompt);
  const bool odd = std::string_view("13579bdf").find(hash[1]) != std::string_view::npos;  // the first byte's low digit
  return odd == (share == DatasetShare::kOddHash);
}

absl::StatusOr<std::string> Convert(const DatasetPart& part, const std::string& name, const std::string& text,
                                    DatasetForm form) {
  const absl::StatusOr<std::vector<internal::ProblemRow>> rows = internal::ReadProblemRows(form, text);
  if (!rows.ok()) return absl::InvalidArgumentError(absl::StrCat(name, ":", rows.status().message()));
  std::string out;
  int64_t written = 0;
  for (const internal::ProblemRow& row : *rows) {
    if (!Takes(part.share, row.prompt)) continue;
    Json json;
    json["id"] = absl::StrCat(part.prefix, written++);
    json["prompt"] = row.prompt;
    json["answer"] = row.answer;
    json["completion"] = absl::StrCat("<think>\n", row.solution, "\n</think>\n<answer> ", row.answer, " </answer>");
    absl::StrAppend(&out, json.dump(-1, ' ', false, Json::error_handler_t::replace), "\n");
  }
  if (written != part.rows) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", part.rows, " rows, got ", written));
  }
  return out;
}

}  // namespace

const std::vector<DatasetEntry>& KnownDatasets() {
  static const auto* const kDatasets = [] {
    const std::string gsm8k =
        "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
        "grade_school_math/data/";
    const std::string svamp =
        "https://raw.githubusercontent.com/arkilpatel/SVAMP/689d7ccac74b9983a2ac7cc3b264f441b99e7c53/data/"
        "mawps-asdiv-a_svamp/";
    const std::string svamp_train = "c761cdc6390a67a285c6c346a2931f61bc8f47430eceaeb123cc3d0263efa821";
    const std::string svamp_test = "978425fa0820a147a20d3cb305a571d77b8ba0d1ccec4a96dd1470bf0079c338";
    using enum DatasetForm;
    return new std::vector<DatasetEntry>{
        {"gsm8k",
         "MIT, Copyright (c) 2021 OpenAI",
         "github.com/openai/grade-school-math (Cobbe et al., arXiv:2110.14168)",
         {{"train.jsonl",
           "gsm8k/train/",
           DatasetShare::kWhole,
           7473,
           {gsm8k + "train.jsonl", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465", kGsm8k},
           {"gsm8k_train.jsonl", "9ff765a9c8c9552badd39416164d95805d111fce6dddbd0ea6a9aed93aef0e93", kProblemJsonl}},
          {"test.jsonl",
           "gsm8k/test/",
           DatasetShare::kWhole,
           1319,
           {gsm8k + "test.jsonl", "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14", kGsm8k},
           {"gsm8k_test.jsonl", "ce35cb0a9a91d71b18226a8112dc6e49be41b189ceeb72021391c73630f6fd23", kProblemJsonl}}}},
        {"svamp",
         "MIT, Copyright (c) 2021 Arkil Patel; problems of ASDiv in the training part: CC BY-NC 4.0",
         "github.com/arkilpatel/SVAMP (Patel et al., arXiv:2103.07191): MAWPS and ASDiv-A in two halves, and SVAMP "
         "itself",
         {{"train.jsonl",
           "svamp/train/",
           DatasetShare::kEvenHash,
           1320,
           {svamp + "train.csv", svamp_train, kSvampCsv},
           {"svamp_train.csv", svamp_train, kSvampCsv}},
          {"heldout.jsonl",
           "svamp/heldout/",
           DatasetShare::kOddHash,
           1369,
           {svamp + "train.csv", svamp_train, kSvampCsv},
           {"svamp_train.csv", svamp_train, kSvampCsv}},
          {"challenge.jsonl",
           "svamp/challenge/",
           DatasetShare::kWhole,
           998,
           {svamp + "dev.csv", svamp_test, kSvampCsv},
           {"svamp_test.csv", svamp_test, kSvampCsv}}}}};
  }();
  return *kDatasets;
}

std::string KnownDatasetNames() {
  std::string names;
  for (const DatasetEntry& entry : KnownDatasets()) absl::StrAppend(&names, names.empty() ? "" : ", ", entry.name);
  return names;
}

absl::StatusOr<DatasetEntry> FindDataset(const std::string& name) {
  for (const DatasetEntry& entry : KnownDatasets()) {
    if (entry.name == name) return entry;
  }
  return absl::NotFoundError(absl::StrCat("no data set is called '", name, "'; known: ", KnownDatasetNames()));
}

absl::Status GetDataset(const DatasetEntry& entry, const std::string& from_dir, const std::string& out_dir) {
  HONE_RETURN_IF_ERROR(CreateDirectories(out_dir));
  std::map<std::string, std::string> files;
  std::string name, text;  // the newest file: parts that share one stand side by side
  for (const DatasetPart& part : entry.parts) {
    const DatasetFile& file = from_dir.empty() ? part.published : part.local;
    if (const std::string wanted = from_dir.empty() ? file.name : JoinPath(from_dir, file.name); wanted != name) {
      name = wanted;
      absl::StatusOr<std::string> read =
          from_dir.empty() ? Download(name, JoinPath(out_dir, part.output + ".download")) : ReadFile(name);
      if (!read.ok()) return read.status();
      text = *std::move(read);
    }
    HONE_RETURN_IF_ERROR(CheckHash(name, text, file.sha256));
    HONE_ASSIGN_OR_RETURN(files[part.output], Convert(part, name, text, file.form));
  }
  return WriteDataFolder(out_dir, entry.name, files);
}

}  // namespace hone::corpus
