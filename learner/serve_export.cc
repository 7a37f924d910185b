#include "learner/serve_export.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/paths.h"
#include "learner/dataset.h"
#include "learner/prompt_room.h"

namespace hone::learner {
namespace {

// Marks a folder as an export of Hone's, and says of what.
constexpr char kMarker[] = "hone_export.json";

absl::Status WriteExport(const LoadedModel& loaded, kernels::DType dtype, const std::string& marker,
                         const std::string& folder) {
  HONE_RETURN_IF_ERROR(RemoveTree(folder));  // left by a crash
  HONE_RETURN_IF_ERROR(CreateDirectories(folder));
  HONE_RETURN_IF_ERROR(model::SaveParameters(loaded.config, loaded.masters, dtype, folder));
  HONE_RETURN_IF_ERROR(WriteModelFiles(loaded.files, folder));
  HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kMarker), marker));
  return SyncPath(folder);
}

// An export is replaced by one of the same run and stage alone: after a crash, or where a run is carried out anew.
absl::Status CheckReplaceable(const std::string& path, const std::string& run, const std::string& stage) {
  if (!FileExists(path)) return absl::OkStatus();
  if (!DirectoryExists(path)) {
    return absl::AlreadyExistsError(absl::StrCat("export: '", path, "' exists and is no folder: not overwritten"));
  }
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path));
  if (names.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(path, kMarker));
  if (!text.ok()) {
    return absl::AlreadyExistsError(absl::StrCat(
        "export: '", path, "' exists and is not an export of Hone's (it has no ", kMarker, "): not overwritten"));
  }
  const nlohmann::json marker = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto is = [&marker](const char* key, const std::string& value) {
    return marker.is_object() && marker.contains(key) && marker[key] == value;
  };
  if (is("run", run) && is("stage", stage)) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("export: '", path, "' is the export of another run or stage (its ",
                                               kMarker, " says which): not overwritten"));
}

// At every moment the earlier export or the new one is whole, at `path` or beside it.
absl::Status Replace(const std::string& temporary, const std::string& path) {
  const std::string aside = path + ".hone-old";
  const bool earlier = FileExists(path);
  if (earlier) {
    HONE_RETURN_IF_ERROR(RemoveTree(aside));  // left by a crash, after the export that replaced it was in place
    HONE_RETURN_IF_ERROR(RenamePath(path, aside));
  }
  if (const absl::Status status = RenamePath(temporary, path); !status.ok()) {
    if (earlier) RenamePath(aside, path).IgnoreError();
    return status;
  }
  return RemoveTree(aside);
}

}  // namespace

absl::Status ServeWeights(WorkSession* session) {
  HONE_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadOrigin(session->work().start(), session->work().spec().seed()));
  HONE_RETURN_IF_ERROR(CheckModelText(session->work().spec(), session->stage(), loaded.files));
  HONE_RETURN_IF_ERROR(
      CheckPromptRoom(session->work().spec(), session->work().stage_index(), loaded.config.max_positions));
  HONE_ASSIGN_OR_RETURN(const bool evaluation_due,
                        session->Publish(session->kernels(), loaded.config, loaded.masters, loaded.files, 0));
  Flow flow = Flow::kContinue;
  if (evaluation_due) {
    HONE_ASSIGN_OR_RETURN(flow, session->client().AwaitRelease(session->work(), session->version(0)));
  }
  if (flow == Flow::kAbandon) return absl::OkStatus();
  return session->client().FinishWork(
      session->work(), {.outcome = flow == Flow::kStop ? v1::WORK_OUTCOME_STOPPED : v1::WORK_OUTCOME_DONE,
                        .root_hash = model::RootHash(loaded.config, loaded.masters)});
}

absl::Status ExportWeights(WorkSession* session) {
  const v1::ExportStage& spec = session->stage().export_();
  const v1::LearnerWork& work = session->work();
  const std::string path = PlainPath(
      spec.path().empty() ? JoinPath(JoinPath(work.output_dir(), "export"), session->stage().name()) : spec.path());
  HONE_RETURN_IF_ERROR(CheckReplaceable(path, work.run(), session->stage().name()));
  HONE_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadOrigin(work.start(), work.spec().seed()));
  const v1::DType wanted = spec.has_dtype() ? spec.dtype() : work.spec().numerics().dtype();
  const kernels::DType dtype = wanted == v1::DTYPE_BF16 ? kernels::DType::kBf16 : kernels::DType::kF32;
  const std::string root_hash = model::RootHash(loaded.config, loaded.masters);
  const nlohmann::json marker = {{"run", work.run()},
                                 {"stage", session->stage().name()},
                                 {"dtype", dtype == kernels::DType::kBf16 ? "BF16" : "F32"},
                                 {"weights_sha256", root_hash}};
  const std::string temporary = path + ".hone-tmp";
  if (const absl::Status status = WriteExport(loaded, dtype, marker.dump(2) + "\n", temporary); !status.ok()) {
    RemoveTree(temporary).IgnoreError();
    return Annotate(status, absl::StrCat("export to ", path));
  }
  HONE_RETURN_IF_ERROR(Replace(temporary, path));
  HONE_INFO << "exported to " << path;
  return session->client().FinishWork(work, {.outcome = v1::WORK_OUTCOME_DONE, .path = path, .root_hash = root_hash});
}

}  // namespace hone::learner
