#include "rollout_worker/serve/serve.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/logging.h"
#include "rollout_worker/serve/generation_loop.h"
#include "rollout_worker/serve/http_server.h"
#include "rollout_worker/serve/rpc_service.h"
#include "rpc/server.h"

namespace hone::serve {
namespace {

std::string NameOf(const std::string& directory) {
  std::filesystem::path path = std::filesystem::absolute(directory).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace

absl::Status Serve(const ServeOptions& options, const std::function<bool()>& stop,
                   const std::function<void(const std::string&, const std::string&)>& ready) {
  HONE_ASSIGN_OR_RETURN(const std::unique_ptr<LocalModel> model, LocalModel::Open(options.model));
  GenerationLoop loop(&model->engine(), {.max_requests = options.max_requests});

  const std::string key = model->numerics_key();
  const WeightVersion version = {.root_hash = model->root_hash()};
  RpcService service(model->text(), version, key, &loop);
  std::unique_ptr<RpcServer> rpc;
  if (!options.grpc_listen.empty()) {
    HONE_ASSIGN_OR_RETURN(rpc, RpcServer::Start({.listen = options.grpc_listen}, {&service}));
  }
  HONE_ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> http,
                        HttpServer::Start({.listen = options.listen,
                                           .model_name = options.model_name.empty() ? NameOf(options.model.directory)
                                                                                    : options.model_name,
                                           .fingerprint = absl::StrCat(key, "/", version.root_hash.substr(0, 16)),
                                           .api_key = options.api_key,
                                           .max_connections = options.max_connections},
                                          model->text(), &loop));
  if (!options.address_file.empty()) {
    HONE_RETURN_IF_ERROR(Annotate(WriteFileAtomic(options.address_file, http->address() + "\n"), "address file"));
  }
  ready(http->address(), rpc == nullptr ? "" : rpc->address());
  while (!stop()) std::this_thread::sleep_for(std::chrono::milliseconds(100));

  http->SetServing(false);
  if (rpc != nullptr) rpc->SetServing(false);
  HONE_INFO << "shutting down: " << loop.stats().requests << " requests in work";
  if (!loop.Drain(std::chrono::seconds(options.drain_seconds))) {
    HONE_WARNING << loop.stats().requests << " requests were cut off after " << options.drain_seconds << " s";
    loop.Stop();
  }
  if (rpc != nullptr) rpc->Shutdown(absl::Seconds(1));
  return absl::OkStatus();
}

}  // namespace hone::serve
