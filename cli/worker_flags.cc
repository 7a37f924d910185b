#include "cli/worker_flags.h"

#include "absl/strings/str_cat.h"

namespace hone::cli {
namespace {

constexpr int kMostSequences = 1 << 16;

absl::Status Refuse(const char* flag, const std::string& expected, int value) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": expected ", expected, ", got ", value));
}

}  // namespace

void AddWorkerMemoryFlags(FlagParser* flags, Worker::Options* options, const std::string& prefix) {
  flags->Add("kv_memory_mib", &options->kv_memory_mib, prefix + "upper limit of the KV cache, in MiB");
  flags->Add("max_sequences", &options->max_sequences, prefix + "sequences generated at once, at most");
}

absl::Status CheckWorkerFlags(const Worker::Options& options) {
  if (options.kv_memory_mib < 1) return Refuse("kv_memory_mib", "at least 1", options.kv_memory_mib);
  if (options.max_sequences < 1 || options.max_sequences > kMostSequences) {
    return Refuse("max_sequences", absl::StrCat("1 to ", kMostSequences), options.max_sequences);
  }
  if (options.stall_seconds < 0) return Refuse("stall_seconds", "0 (never) or more", options.stall_seconds);
  return absl::OkStatus();
}

std::vector<std::string> WorkerArguments(const Worker::Options& options) {
  return {absl::StrCat("--kv_memory_mib=", options.kv_memory_mib),
          absl::StrCat("--max_sequences=", options.max_sequences),
          absl::StrCat("--stall_seconds=", options.stall_seconds)};
}

}  // namespace hone::cli
