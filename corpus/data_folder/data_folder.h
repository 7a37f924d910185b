// The folders that `hone data make` and `hone data get` write: whole, and never over files that are not theirs.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"

namespace hone::corpus {

// Writes `files` (contents by path below `directory`, folders made where absent) and last hone_data.json, which says
// what they are: {"data": `data`}. Each file is written atomically.
//
// A file that is there already and has other contents is overwritten only where hone_data.json says the same `data`.
// ALREADY_EXISTS names it otherwise, and then nothing has been written.
absl::Status WriteDataFolder(const std::string& directory, const std::string& data,
                             const std::map<std::string, std::string>& files);

}  // namespace hone::corpus
