// Prompts from JSON Lines files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/core/prompts.h"
#include "hone/v1/run.pb.h"

namespace hone::coordinator {

// What was read, and from which bytes.
struct LoadedPrompts {
  PromptSets sets;
  std::map<std::string, std::string> source_sha256;  // by path as in the spec; of the whole file
};

// Reads one source. `columns` names the keys; the prompt must be a non-empty string, answer, language and id may be
// strings, numbers or booleans, or absent (an absent id is the line number). Blank lines are skipped.
//
// INVALID_ARGUMENT names file, line and key: not UTF-8, not a JSON object, a missing or ill-typed key, a duplicate key,
// a row of more than kMaxRowBytes; also an empty file. NOT_FOUND: no such file. `keys`, where given, gets those of the
// first row.
absl::StatusOr<PromptSource> ReadPromptSource(const v1::SourceSpec& spec, const std::string& path, std::string* sha256,
                                              std::vector<std::string>* keys = nullptr);

// Every data set that the run's rl and evaluate stages hand out. Relative paths start at `working_directory`. Ids are
// made unique in a data set: one that was seen before gets "@<source>:<row>" behind it. INVALID_ARGUMENT also where an
// accuracy reward compares answers and no row of a source has one: a misspelt column.
absl::StatusOr<LoadedPrompts> LoadPrompts(const v1::RunSpec& spec, const std::string& working_directory);

}  // namespace hone::coordinator
