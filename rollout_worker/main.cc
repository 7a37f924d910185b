// hone-rollout-worker: generates groups for the coordinator's runs.
#include <cstdio>
#include <string>

#include "base/flags.h"
#include "base/logging.h"
#include "rollout_worker/worker.h"
#include "rpc/signals.h"

int main(int argc, char** argv) {
  const auto shutdown = hone::InstallShutdownSignals();
  hone::SetLogProcessName("rollout-worker");
  hone::Worker::Options options;
  hone::FlagParser flags("hone-rollout-worker",
                         "Generates completions for the coordinator's runs, and serves RolloutService.");
  flags.Add("coordinator", &options.coordinator, "host:port of the coordinator");
  flags.Add("listen", &options.listen, "host:port to serve at; port 0 = any free one");
  flags.Add("address_file", &options.address_file, "file that the bound address is written to");
  flags.Add("threads", &options.threads, "compute threads; 0 = one per core");
  flags.Add("kv_memory_mib", &options.kv_memory_mib, "upper limit of the KV cache, in MiB");
  flags.Add("max_sequences", &options.max_sequences, "sequences generated at once, at most");
  flags.Add("page_tokens", &options.page_tokens, "tokens of one KV page, a multiple of 16");
  flags.Add("stall_seconds", &options.stall_seconds,
            "after so long without a step of the engine, or without an answer of a living reward server, groups are "
            "left to other workers; 0 = never");
  flags.AddLogLevel();
  if (const absl::Status status = flags.Parse(argc, argv); !status.ok()) return hone::FlagParser::Exit(status);
  auto worker = hone::Worker::Create(options);
  if (!worker.ok()) {
    std::fprintf(stderr, "hone-rollout-worker: %s\n", std::string(worker.status().message()).c_str());
    return 1;
  }
  const absl::Status status = (*worker)->Run([&shutdown] { return shutdown->requested(); });
  if (status.ok()) return 0;
  std::fprintf(stderr, "hone-rollout-worker: %s\n", std::string(status.message()).c_str());
  return 1;
}
