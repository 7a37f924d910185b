#include "learner/checkpoint.h"

#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/crash_point.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "model/formats/safetensors.h"

namespace hone::learner {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "hone-checkpoint-1";
constexpr char kModelFolder[] = "model";
constexpr char kPreviousFolder[] = "previous";
constexpr char kTemporary[] = ".tmp";  // what looks for checkpoints passes by names that end so
constexpr char kFirstMoment[] = "optimizer/first_moment.safetensors";
constexpr char kSecondMoment[] = "optimizer/second_moment.safetensors";

model::DType DTypeOf(Moments::Format format) {
  switch (format) {
    case Moments::Format::kF32:
      return model::DType::kF32;
    case Moments::Format::kBf16:
      return model::DType::kBF16;
    case Moments::Format::kF8:
      return model::DType::kU8;
  }
  return model::DType::kF32;
}

std::string ScaleName(const std::string& parameter) { return parameter + ".scale"; }

template <typename T>
std::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

absl::Status WriteMoments(const model::ModelConfig& config, const Moments& moments, const std::string& path) {
  const model::ParameterLayout layout(config);
  const bool scaled = moments.format() == Moments::Format::kF8;
  std::vector<model::TensorSpec> specs;
  for (size_t i = 0; i < layout.entries().size(); ++i) {
    const model::ParameterInfo& entry = layout.entries()[i];
    specs.push_back({.name = entry.name, .dtype = DTypeOf(moments.format()), .shape = entry.shape});
    if (!scaled) continue;
    specs.push_back(
        {.name = ScaleName(entry.name), .dtype = model::DType::kF32, .shape = {std::ssize(moments.scales(i))}});
  }
  HONE_ASSIGN_OR_RETURN(const auto writer, model::SafetensorsWriter::Create(path, std::move(specs)));
  for (size_t i = 0; i < layout.entries().size(); ++i) {
    const std::string& name = layout.entries()[i].name;
    HONE_RETURN_IF_ERROR(writer->Append(name, BytesOf(moments.values(i))));
    if (scaled) HONE_RETURN_IF_ERROR(writer->Append(ScaleName(name), BytesOf(moments.scales(i))));
  }
  return writer->Finish();
}

// The bytes of a tensor of that type and shape into `out`.
absl::Status ReadTensor(const model::SafetensorsFile& file, const std::string& name, model::DType dtype,
                        const std::vector<int64_t>& shape, std::span<std::byte> out) {
  const model::TensorInfo* tensor = file.Find(name);
  if (tensor == nullptr) return absl::DataLossError(absl::StrCat(file.path(), ": no tensor '", name, "'"));
  if (tensor->dtype != dtype) {
    return absl::DataLossError(absl::StrCat(file.path(), ": tensor '", name, "': expected ",
                                            std::string(model::DTypeName(dtype)), ", got ",
                                            std::string(model::DTypeName(tensor->dtype))));
  }
  HONE_RETURN_IF_ERROR(model::CheckTensorShape(*tensor, shape));
  HONE_CHECK_EQ(tensor->bytes.size(), out.size());
  std::memcpy(out.data(), tensor->bytes.data(), out.size());
  return absl::OkStatus();
}

absl::StatusOr<Moments> ReadMoments(const model::ModelConfig& config, const std::string& path) {
  HONE_ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::Open(path));
  const model::ParameterLayout layout(config);
  // The first tensor says the format of all.
  Moments::Format format = Moments::Format::kF32;
  if (const model::TensorInfo* first = file->Find(layout.entries().front().name); first != nullptr) {
    if (first->dtype == model::DType::kBF16) format = Moments::Format::kBf16;
    if (first->dtype == model::DType::kU8) format = Moments::Format::kF8;
  }
  Moments moments(config, format);
  for (size_t i = 0; i < layout.entries().size(); ++i) {
    const model::ParameterInfo& entry = layout.entries()[i];
    HONE_RETURN_IF_ERROR(ReadTensor(*file, entry.name, DTypeOf(format), entry.shape, moments.values(i)));
    if (format != Moments::Format::kF8) continue;
    HONE_RETURN_IF_ERROR(ReadTensor(*file, ScaleName(entry.name), model::DType::kF32, {std::ssize(moments.scales(i))},
                                    std::as_writable_bytes(moments.scales(i))));
  }
  return moments;
}

// Paths of all files below `root`, relative to it, sorted.
absl::Status ListFiles(const std::string& root, const std::string& below, std::vector<std::string>* files) {
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(JoinPath(root, below)));
  for (const std::string& name : names) {
    const std::string relative = below.empty() ? name : JoinPath(below, name);
    if (DirectoryExists(JoinPath(root, relative))) {
      HONE_RETURN_IF_ERROR(ListFiles(root, relative, files));
    } else {
      files->push_back(relative);
    }
  }
  return absl::OkStatus();
}

json StateJson(const CheckpointState& state) {
  json out = {{"format", kFormat},
              {"run", state.run},
              {"stage", state.stage},
              {"spec_hash", state.spec_hash},
              {"version", state.version},
              {"parent_version", state.parent_version},
              {"step", state.step},
              {"optimizer_updates", state.optimizer_updates},
              {"optimizer_skipped", state.optimizer_skipped},
              {"journal_position", state.journal_position},
              {"root_hash", state.root_hash},
              {"inputs", state.inputs}};
  if (!state.previous_root_hash.empty()) out["previous_root_hash"] = state.previous_root_hash;
  return out;
}

absl::Status WriteFiles(const CheckpointSource& source, const std::string& folder) {
  const std::string model_folder = JoinPath(folder, kModelFolder);
  const bool with_moments = source.first_moment != nullptr;
  // All folders first: should a successor take this folder away meanwhile, no later part of it comes back alone.
  HONE_RETURN_IF_ERROR(CreateDirectories(model_folder));
  if (with_moments) HONE_RETURN_IF_ERROR(CreateDirectories(JoinPath(folder, "optimizer")));
  const std::string previous_folder = JoinPath(folder, kPreviousFolder);
  if (source.previous != nullptr) {
    HONE_RETURN_IF_ERROR(CreateDirectories(previous_folder));
    HONE_RETURN_IF_ERROR(
        model::SaveParameters(*source.config, *source.previous, kernels::DType::kF32, previous_folder));
  }
  HONE_RETURN_IF_ERROR(model::SaveParameters(*source.config, *source.masters, kernels::DType::kF32, model_folder));
  HONE_RETURN_IF_ERROR(WriteModelFiles(*source.files, model_folder));
  if (with_moments) {
    HONE_RETURN_IF_ERROR(WriteMoments(*source.config, *source.first_moment, JoinPath(folder, kFirstMoment)));
    HONE_RETURN_IF_ERROR(WriteMoments(*source.config, *source.second_moment, JoinPath(folder, kSecondMoment)));
  }
  json state = StateJson(*source.state);
  std::vector<std::string> files;
  HONE_RETURN_IF_ERROR(ListFiles(folder, "", &files));
  for (const std::string& name : files) {
    HONE_ASSIGN_OR_RETURN(const auto contents, MappedFile::Open(JoinPath(folder, name)));
    state["files"][name] = {{"bytes", contents->size()}, {"sha256", Sha256Hex(contents->view())}};
  }
  const std::string body = state.dump(2);
  state["checksum"] = Sha256Hex(body);
  return WriteFileAtomic(JoinPath(folder, "state.json"), state.dump(2) + "\n");
}

// state.json, checked against its own checksum.
absl::StatusOr<json> ReadState(const std::string& path) {
  if (!DirectoryExists(path)) return absl::NotFoundError(absl::StrCat("checkpoint folder '", path, "' does not exist"));
  const std::string file = JoinPath(path, "state.json");
  if (!FileExists(file)) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is not a checkpoint: it has no state.json"));
  }
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  json state = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object()) return absl::DataLossError(absl::StrCat(file, ": not a JSON object (truncated?)"));
  if (const auto it = state.find("format"); it == state.end() || *it != kFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected format '", kFormat, "', got ", it == state.end() ? "none" : it->dump()));
  }
  const json expected = state.value("checksum", json());
  state.erase("checksum");
  if (const std::string actual = Sha256Hex(state.dump(2)); expected != actual) {
    return absl::DataLossError(absl::StrCat(file, ": expected checksum ", expected.dump(), ", got ", actual));
  }
  return state;
}

absl::Status VerifyFiles(const json& state, const std::string& path) {
  for (const auto& [name, entry] : state.at("files").items()) {
    const std::string file = JoinPath(path, name);
    if (!FileExists(file)) return absl::DataLossError(absl::StrCat(file, ": missing from the checkpoint"));
    HONE_ASSIGN_OR_RETURN(const auto contents, MappedFile::Open(file));
    const uint64_t bytes = entry.at("bytes").get<uint64_t>();
    if (contents->size() != bytes) {
      return absl::DataLossError(absl::StrCat(file, ": expected ", bytes, " bytes, got ", contents->size()));
    }
    const std::string expected = entry.at("sha256").get<std::string>();
    if (const std::string actual = Sha256Hex(contents->view()); actual != expected) {
      return absl::DataLossError(absl::StrCat(file, ": expected SHA-256 ", expected, ", got ", actual));
    }
  }
  return absl::OkStatus();
}

// True where `path` holds what `temporary` holds, whole: the two states name the same files with the same hashes.
bool IsSame(const std::string& temporary, const std::string& path) {
  const auto wanted = ReadState(temporary);
  const auto there = ReadState(path);
  if (!wanted.ok() || !there.ok() || *wanted != *there) return false;
  return VerifyFiles(*wanted, path).ok();
}

// The learner epoch in "step-NNNNNN.<epoch>.tmp" or "step-NNNNNN.<epoch>.old.tmp"; 0 where there is none.
int64_t EpochOf(const std::string& name) {
  int64_t epoch = 0;
  const size_t dot = name.find('.');
  std::from_chars(name.data() + dot + 1, name.data() + name.size(), epoch);
  return epoch;
}

// Removes what earlier learners began in `folder` and did not finish. One of them may be alive and not know yet that it
// is fenced, so its folder goes at once, by a rename to `aside`: it can write no more there. A later learner's stays.
absl::Status RemoveLeftovers(const std::string& folder, int64_t epoch, const std::string& aside) {
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(folder));
  for (const std::string& name : names) {
    if (!name.starts_with("step-") || !name.ends_with(kTemporary) || EpochOf(name) >= epoch) continue;
    const absl::Status moved = RenamePath(JoinPath(folder, name), aside);
    if (!moved.ok() && !absl::IsNotFound(moved)) return moved;  // not found: it has just finished or given up
    HONE_RETURN_IF_ERROR(RemoveTree(aside));
  }
  return absl::OkStatus();
}

absl::Status MakeRoom(const std::string& folder, int64_t epoch, const std::string& temporary,
                      const std::string& aside) {
  HONE_RETURN_IF_ERROR(CreateDirectories(folder));
  HONE_RETURN_IF_ERROR(RemoveTree(temporary));  // of an earlier try
  HONE_RETURN_IF_ERROR(RemoveTree(aside));
  if (const absl::Status removed = RemoveLeftovers(folder, epoch, aside); !removed.ok()) {
    HONE_WARNING << "unfinished checkpoints in " << folder << " stay: " << removed.ToString();
  }
  return absl::OkStatus();
}

// Afterwards `path` holds what `temporary` held. The same is kept, for the coordinator may have recorded it; another
// one is moved to `aside` first, so that one or the other is whole at every moment.
absl::Status PutInPlace(const std::string& folder, const std::string& temporary, const std::string& path,
                        const std::string& aside) {
  HONE_RETURN_IF_ERROR(ReadState(temporary).status());  // a successor may have taken it away
  const bool earlier = FileExists(path);
  if (earlier) {
    if (IsSame(temporary, path)) {
      // Who renamed it may have died before its name was durable.
      HONE_RETURN_IF_ERROR(SyncPath(folder));
      return RemoveTree(temporary);
    }
    HONE_RETURN_IF_ERROR(RenamePath(path, aside));
  }
  if (const absl::Status status = RenamePath(temporary, path); !status.ok()) {
    // A learner that does not know that it is fenced may have been faster.
    if (!IsSame(temporary, path)) {
      if (earlier) RenamePath(aside, path).IgnoreError();
      return status;
    }
    HONE_RETURN_IF_ERROR(SyncPath(folder));
    HONE_RETURN_IF_ERROR(RemoveTree(temporary));
  }
  return RemoveTree(aside);
}

CheckpointState ParseState(const json& state) {
  return {.run = state.at("run").get<std::string>(),
          .stage = state.at("stage").get<std::string>(),
          .spec_hash = state.at("spec_hash").get<std::string>(),
          .version = state.at("version").get<int64_t>(),
          .parent_version = state.at("parent_version").get<int64_t>(),
          .step = state.at("step").get<int32_t>(),
          .optimizer_updates = state.at("optimizer_updates").get<int64_t>(),
          .optimizer_skipped = state.at("optimizer_skipped").get<int64_t>(),
          .journal_position = state.at("journal_position").get<int64_t>(),
          .root_hash = state.at("root_hash").get<std::string>(),
          .inputs = state.value("inputs", std::map<std::string, std::string>()),
          .previous_root_hash = state.value("previous_root_hash", "")};
}

}  // namespace

std::string CheckpointName(int32_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%06d", step);
  return name;
}

absl::StatusOr<std::string> WriteCheckpoint(const CheckpointSource& source, const std::string& parent_directory) {
  HONE_CRASH_POINT("checkpoint.before_write");
  const std::string path = JoinPath(parent_directory, CheckpointName(source.state->step));
  const std::string own = absl::StrCat(path, ".", source.learner_epoch);
  const std::string temporary = own + kTemporary;
  const std::string aside = own + ".old" + kTemporary;
  absl::Status status = MakeRoom(parent_directory, source.learner_epoch, temporary, aside);
  if (status.ok()) status = WriteFiles(source, temporary);
  if (status.ok()) status = SyncPath(temporary);
  if (status.ok()) {
    HONE_CRASH_POINT("checkpoint.before_rename");
    status = PutInPlace(parent_directory, temporary, path, aside);
  }
  if (!status.ok()) {
    RemoveTree(temporary).IgnoreError();
    return Annotate(status, absl::StrCat("writing checkpoint ", path));
  }
  HONE_CRASH_POINT("checkpoint.after_rename");
  return path;
}

absl::StatusOr<Checkpoint> LoadCheckpoint(const std::string& path, CheckpointParts parts) {
  HONE_ASSIGN_OR_RETURN(const json state, ReadState(path));
  Checkpoint checkpoint;
  try {
    HONE_RETURN_IF_ERROR(VerifyFiles(state, path));
    checkpoint.state = ParseState(state);
    checkpoint.has_moments = state.at("files").contains(kFirstMoment) && state.at("files").contains(kSecondMoment);
  } catch (const json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(JoinPath(path, "state.json"), ": ", e.what()));
  }
  const std::string model_folder = JoinPath(path, kModelFolder);
  LoadedModel& loaded = checkpoint.model;
  HONE_ASSIGN_OR_RETURN(loaded.config, model::LoadModelConfig(model_folder));
  HONE_ASSIGN_OR_RETURN(loaded.files, ReadModelFiles(model_folder));
  HONE_ASSIGN_OR_RETURN(loaded.masters, model::LoadParameters(loaded.config, model_folder));
  if (const std::string hash = model::RootHash(loaded.config, loaded.masters); hash != checkpoint.state.root_hash) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected root hash ", checkpoint.state.root_hash, ", the weights have ", hash));
  }
  if (parts == CheckpointParts::kAll && checkpoint.has_moments) {
    HONE_ASSIGN_OR_RETURN(checkpoint.first_moment, ReadMoments(loaded.config, JoinPath(path, kFirstMoment)));
    HONE_ASSIGN_OR_RETURN(checkpoint.second_moment, ReadMoments(loaded.config, JoinPath(path, kSecondMoment)));
  }
  if (parts == CheckpointParts::kAll && !checkpoint.state.previous_root_hash.empty()) {
    HONE_ASSIGN_OR_RETURN(checkpoint.previous, model::LoadParameters(loaded.config, JoinPath(path, kPreviousFolder)));
  }
  return checkpoint;
}

bool IsCheckpointOf(const std::string& folder, const std::string& path) {
  const std::string start = folder + "/step-";
  return path.starts_with(start) && path.find_first_of("/.", start.size()) == std::string::npos;
}

absl::Status RemoveCheckpoint(const std::string& path, int64_t learner_epoch) {
  const std::string aside = absl::StrCat(path, ".", learner_epoch, ".old", kTemporary);
  HONE_RETURN_IF_ERROR(RemoveTree(aside));
  if (const absl::Status moved = RenamePath(path, aside); !moved.ok()) {
    return absl::IsNotFound(moved) ? absl::OkStatus() : moved;
  }
  return RemoveTree(aside);
}

}  // namespace hone::learner
