// `hone model import` and `hone model hash`: thin entries to model/formats.
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/sha256.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "model/formats/gguf_import.h"
#include "model/formats/safetensors.h"

namespace hone::cli {
namespace {

// The root hash of docs/formats.md: one line for each tensor, in the order of names, with the hash of its fp32 values.
absl::StatusOr<std::string> HashFolder(const std::string& folder) {
  HONE_ASSIGN_OR_RETURN(const std::unique_ptr<model::ShardedSafetensors> weights,
                        model::ShardedSafetensors::Open(folder));
  Sha256 root;
  std::vector<float> values;
  for (const std::string& name : weights->names()) {
    const model::TensorInfo* tensor = weights->Find(name);
    values.resize(static_cast<size_t>(tensor->element_count));
    HONE_RETURN_IF_ERROR(weights->ReadAsF32(name, tensor->shape, values.data()));
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    root.Update(absl::StrCat(name, " F32 ", absl::StrJoin(tensor->shape, "x"), " ", Sha256Hex(bytes), "\n"));
  }
  return root.FinishHex();
}

}  // namespace

int RunModelImport(const Args& args) {
  std::string out;
  std::string dtype = "bf16";
  FlagParser flags =
      MakeFlags("model import",
                "Writes the model in a GGUF file (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q8_0) as a Hugging Face folder.",
                {"hone model import smollm2.gguf --out models/smollm2"});
  flags.Add("out", &out, "the folder to write; it must not exist, or be empty; required");
  flags.Add("dtype", &dtype, "bf16 or fp32");
  std::vector<std::string> files;
  if (const auto exit = ParseArgs(&flags, "model import", {"GGUF", 1, 1}, args, &files)) return *exit;
  if (out.empty() || (dtype != "bf16" && dtype != "fp32")) {
    Note("model import: expected --out DIR and --dtype bf16 or fp32");
    return kExitUsage;
  }
  const absl::Status status =
      model::ImportGguf(files[0], out, dtype == "bf16" ? model::DType::kBF16 : model::DType::kF32);
  if (!status.ok()) return Fail(status);
  Print(out + "\n");
  return kExitOk;
}

int RunModelHash(const Args& args) {
  FlagParser flags =
      MakeFlags("model hash",
                "The canonical hash of the fp32 weights in a model or checkpoint folder: what weights_sha256 in "
                "summary.json says.",
                {"hone model hash runs/quickstart/export/model"});
  std::vector<std::string> folders;
  if (const auto exit = ParseArgs(&flags, "model hash", {"DIR", 1, 1}, args, &folders)) return *exit;
  const absl::StatusOr<std::string> hash = HashFolder(folders[0]);
  if (!hash.ok()) return Fail(hash.status());
  Print(*hash + "\n");
  return kExitOk;
}

}  // namespace hone::cli
