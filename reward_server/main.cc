// hone-reward-server: scores groups of completions by rules.
#include <cstdio>
#include <string>

#include "base/flags.h"
#include "base/logging.h"
#include "reward_server/server.h"
#include "rpc/signals.h"

int main(int argc, char** argv) {
  const auto shutdown = hone::InstallShutdownSignals();
  hone::SetLogProcessName("reward-server");
  hone::reward::RewardServer::Options options;
  hone::FlagParser flags("hone-reward-server", "Scores groups of completions by rules, over gRPC.");
  flags.Add("listen", &options.listen, "host:port to serve at; port 0 = any free one");
  flags.Add("address_file", &options.address_file, "file that the bound address is written to");
  flags.Add("coordinator", &options.coordinator, "host:port of the coordinator to register with; empty = none");
  flags.AddLogLevel();
  if (const absl::Status status = flags.Parse(argc, argv); !status.ok()) return hone::FlagParser::Exit(status);
  auto server = hone::reward::RewardServer::Start(options);
  if (!server.ok()) {
    std::fprintf(stderr, "hone-reward-server: %s\n", std::string(server.status().message()).c_str());
    return 1;
  }
  (*server)->ServeUntil(*shutdown);
  return 0;
}
