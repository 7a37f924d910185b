// A run file from the command line: read, changed by --set, resolved.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hone/v1/control.pb.h"
#include "hone/v1/run.pb.h"

namespace hone::cli {

// Errors name file, line and field (coordinator/run_config).
absl::StatusOr<v1::RunSpec> LoadRunFile(const std::string& path, const std::vector<std::string>& overrides);

// The canonical hash of a resolved spec.
std::string RunHash(const v1::RunSpec& resolved);

// What `--dry-run` prints: hash, stages and memory plan as comments, then the resolved file. It is itself a run file.
std::string DryRunText(const v1::RunSpec& resolved, const v1::MemoryPlan& memory);

}  // namespace hone::cli
