// `hone serve`: a model folder behind the OpenAI API and gRPC.
#include "rollout_worker/serve/serve.h"

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "rpc/signals.h"

namespace hone::cli {

int RunServe(const Args& args) {
  serve::ServeOptions options;
  std::string dtype = "bf16";
  int kv_memory_mib = 1024;
  FlagParser flags = MakeFlags(
      "serve", "Serves the model in a Hugging Face folder: the OpenAI API over HTTP, RolloutService over gRPC.",
      {"hone serve --model models/smollm2-135m",
       "hone serve --model runs/quickstart/export/model --listen 0.0.0.0:8000 --grpc_listen 0.0.0.0:8001",
       "curl localhost:8000/v1/completions -H 'Content-Type: application/json' -d '{\"prompt\": \"3 + 4 =\", "
       "\"max_tokens\": 8}'"});
  flags.Add("model", &options.model.directory, "the model folder; required");
  flags.Add("listen", &options.listen, "host:port of HTTP; port 0 = any free one");
  flags.Add("grpc_listen", &options.grpc_listen, "host:port of gRPC; without it there is none");
  flags.Add("address_file", &options.address_file, "file that the HTTP address is written to");
  flags.Add("model_name", &options.model_name, "the name that clients give; default the folder's");
  flags.Add("api_key", &options.api_key, "what clients must send as a bearer token; without it nothing");
  flags.Add("dtype", &dtype, "bf16 or fp32");
  flags.Add("threads", &options.model.threads, "compute threads; 0 = one per core");
  flags.Add("kv_memory_mib", &kv_memory_mib, "upper limit of the KV cache, in MiB");
  flags.Add("max_sequences", &options.model.engine.max_batch_sequences, "sequences generated at once, at most");
  flags.Add("max_requests", &options.max_requests, "requests in work or waiting, at most; more are refused with 429");
  flags.Add("max_connections", &options.max_connections, "connections answered at once, at most");
  flags.Add("drain_seconds", &options.drain_seconds, "how long requests go on after SIGTERM");
  if (const auto exit = ParseArgs(&flags, "serve", args)) return *exit;
  const auto refuse = [](const std::string& message) {
    Note(absl::StrCat("serve: ", message));
    return kExitUsage;
  };
  if (options.model.directory.empty()) return refuse("expected --model DIR");
  if (dtype != "bf16" && dtype != "fp32")
    return refuse(absl::StrCat("--dtype: expected bf16 or fp32, got '", dtype, "'"));
  for (const auto& [name, value] : {std::pair{"kv_memory_mib", kv_memory_mib},
                                    {"max_sequences", options.model.engine.max_batch_sequences},
                                    {"max_requests", options.max_requests},
                                    {"max_connections", options.max_connections}}) {
    if (value < 1) return refuse(absl::StrCat("--", name, ": expected 1 or more, got ", value));
  }
  if (options.drain_seconds < 0)
    return refuse(absl::StrCat("--drain_seconds: expected 0 or more, got ", options.drain_seconds));
  options.model.dtype = dtype == "fp32" ? kernels::DType::kF32 : kernels::DType::kBf16;
  options.model.engine.kv_cache_bytes = int64_t{kv_memory_mib} << 20;
  options.model.hashes_weights = true;
  const auto shutdown = InstallShutdownSignals();
  const absl::Status status = serve::Serve(
      options, [&shutdown] { return shutdown->requested(); },
      [](const std::string& http, const std::string& grpc) {
        Note(absl::StrCat("serving http://", http, "/v1", grpc.empty() ? "" : absl::StrCat(" and gRPC at ", grpc)));
      });
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace hone::cli
