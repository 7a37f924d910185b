// `hone data get`: public data sets, fetched or taken from a folder, checked, and written in Hone's form.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hone::corpus {

// How a file says its problems.
enum class DatasetForm {
  kGsm8k,         // JSON Lines {"question", "answer": "solution #### number"}
  kProblemJsonl,  // JSON Lines {"problem", "answer", "solution"}
  kSvampCsv,      // columns Question, Numbers, Equation (prefix), Answer
};

struct DatasetFile {
  std::string name;  // an address, or a file's name in a local folder
  std::string sha256;
  DatasetForm form = DatasetForm::kGsm8k;
};

// Which of a file's problems a part takes. The halves go by the first byte of the SHA-256 of the problem's text, so
// that a problem is in the same one wherever it stands.
enum class DatasetShare { kWhole, kEvenHash, kOddHash };

// One part of a data set: as its authors publish it, and as a file of a local folder (--from or $HONE_DATA). Each is
// checked by SHA-256, and by the number of rows that it gives.
struct DatasetPart {
  std::string output;  // name of the file that is written, e.g. "train.jsonl"
  std::string prefix;  // of the rows' ids, e.g. "gsm8k/train/"
  DatasetShare share = DatasetShare::kWhole;
  int64_t rows = 0;  // that are written
  DatasetFile published;
  DatasetFile local;
};

struct DatasetEntry {
  std::string name;
  std::string licence;
  std::string source;  // for people
  std::vector<DatasetPart> parts;
};

// All that are known, by name.
const std::vector<DatasetEntry>& KnownDatasets();

// Writes the parts to `out_dir` (made if absent) as rows {"id", "prompt", "answer", "completion"}; the completion is
// the published solution as <think> ... </think> <answer> ... </answer>. From `from_dir` where it is not empty, else by
// `curl` from the network. Both give the same bytes.
//
// NOT_FOUND: no such file in `from_dir`. UNAVAILABLE: the download failed, or curl is not installed. INVALID_ARGUMENT:
// a file is not the expected one (hash, rows, a row's form); the message names it. ALREADY_EXISTS: as WriteDataFolder.
// Nothing is written before all parts are there and checked.
absl::Status GetDataset(const DatasetEntry& entry, const std::string& from_dir, const std::string& out_dir);

// Their names: "gsm8k, svamp".
std::string KnownDatasetNames();

// The entry called `name`; NOT_FOUND with what is known otherwise.
absl::StatusOr<DatasetEntry> FindDataset(const std::string& name);

}  // namespace hone::corpus
