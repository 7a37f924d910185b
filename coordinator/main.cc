// hone-coordinator: runs, stages, prompts, leases, journal, metrics. One for each state directory.
#include <filesystem>
#include <iostream>

#include "base/flags.h"
#include "base/logging.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/services.h"
#include "rpc/server.h"
#include "rpc/signals.h"

namespace hone {
namespace {

struct Flags {
  std::string listen = "127.0.0.1:7070";
  std::string address_file;
  std::string state = "hone-state";
};

absl::Status Serve(const Flags& flags) {
  const std::unique_ptr<ShutdownSignal> signal = InstallShutdownSignals();
  coordinator::Coordinator::Options options;
  options.state_directory = flags.state;
  std::error_code error;
  options.working_directory = std::filesystem::current_path(error).string();
  HONE_ASSIGN_OR_RETURN(const auto coordinator, coordinator::Coordinator::Start(options));
  const auto control = coordinator::MakeControlService(coordinator.get());
  const auto members = coordinator::MakeCoordinatorService(coordinator.get());
  RpcServer::Options server_options;
  server_options.listen = flags.listen;
  server_options.address_file = flags.address_file;
  HONE_ASSIGN_OR_RETURN(const auto server, RpcServer::Start(server_options, {control.get(), members.get()}));
  HONE_INFO << "serving at " << server->address();
  signal->WaitFor(absl::InfiniteDuration());
  HONE_INFO << "shutting down";
  server->SetServing(false);
  coordinator->Close();
  server->Shutdown(absl::Seconds(2));
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  FlagParser parser("hone-coordinator", "Owns runs and their journal; everyone else asks it for work.");
  parser.Add("listen", &flags.listen, "host:port to serve at; port 0 = any free one");
  parser.Add("address_file", &flags.address_file, "file that the bound address is written to");
  parser.Add("state", &flags.state, "directory of the journal and the database; created if absent");
  parser.AddLogLevel();
  absl::Status status = parser.Parse(argc, argv);
  if (!status.ok()) return FlagParser::Exit(status);
  SetLogProcessName("coordinator");
  status = Serve(flags);
  if (status.ok()) return 0;
  std::cerr << "hone-coordinator: " << std::string(status.message()) << "\n";
  return 1;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) { return hone::Main(argc, argv); }
