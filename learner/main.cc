// hone-learner: trains the models of a cluster's runs and serves their weights.
#include <cstdio>

#include "base/flags.h"
#include "base/logging.h"
#include "learner/learner.h"
#include "rpc/signals.h"

int main(int argc, char** argv) {
  const auto shutdown = hone::InstallShutdownSignals();
  hone::learner::Learner::Options options;
  options.coordinator = "127.0.0.1:7070";
  hone::FlagParser flags("hone-learner", "Trains models on what the coordinator hands out, and serves their weights.");
  flags.Add("coordinator", &options.coordinator, "host:port of the coordinator");
  flags.Add("listen", &options.listen, "host:port to serve weights at; port 0 = any free one");
  flags.Add("address_file", &options.address_file, "file that gets the address served at, once it listens");
  flags.Add("threads", &options.threads, "compute threads; 0 = one per core");
  flags.AddLogLevel();
  if (const absl::Status status = flags.Parse(argc, argv); !status.ok()) return hone::FlagParser::Exit(status);
  hone::SetLogProcessName("learner");
  options.cancelled = [&shutdown] { return shutdown->requested(); };

  const auto learner = hone::learner::Learner::Create(options);
  absl::Status status = learner.status();
  if (status.ok()) status = (*learner)->Run();
  if (status.ok()) return 0;
  HONE_ERROR << status.ToString();
  return 1;
}
