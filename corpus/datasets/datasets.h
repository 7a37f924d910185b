// `hone data get`: public data sets, fetched or taken from a folder, checked, and written in Hone's form.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hone::corpus {

// One file of a data set, in the two forms that it is known in. Each form is checked by size in rows and by SHA-256.
struct DatasetPart {
  std::string output;  // name of the file that is written, e.g. "train.jsonl"
  std::string prefix;  // of the rows' ids, e.g. "gsm8k/train/"
  int64_t rows = 0;
  // As its authors publish it.
  std::string url;
  std::string url_sha256;
  // As a file of a local folder (--from or $HONE_DATA): rows {"id", "problem", "answer", "solution"}.
  std::string local_name;
  std::string local_sha256;
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
// a file is not the expected one (hash, rows, a row's form); the message names it. A part is written whole or not at
// all.
absl::Status GetDataset(const DatasetEntry& entry, const std::string& from_dir, const std::string& out_dir);

// The entry called `name`; NOT_FOUND with what is known otherwise.
absl::StatusOr<DatasetEntry> FindDataset(const std::string& name);

}  // namespace hone::corpus
