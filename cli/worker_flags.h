// Those flags of `hone-rollout-worker` that other commands know: `hone up` passes them on, a dry run plans with them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/flags.h"
#include "rollout_worker/worker.h"

namespace hone::cli {

// --kv_memory_mib and --max_sequences: what a worker's memory follows from. `prefix` begins their help.
void AddWorkerMemoryFlags(FlagParser* flags, Worker::Options* options, const std::string& prefix);
// INVALID_ARGUMENT names the flag that is out of range.
absl::Status CheckWorkerFlags(const Worker::Options& options);
// The arguments that give a worker process these options (memory and stall_seconds).
std::vector<std::string> WorkerArguments(const Worker::Options& options);

}  // namespace hone::cli
