#include "corpus/data_folder/data_folder.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/status.h"

namespace hone::corpus {
namespace {

constexpr const char* kMarker = "hone_data.json";

bool Is(const std::string& directory, const std::string& data) {
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(directory, kMarker));
  const nlohmann::json marker = nlohmann::json::parse(text.value_or(""), nullptr, /*allow_exceptions=*/false);
  return marker.is_object() && marker.value("data", nlohmann::json()) == data;
}

}  // namespace

absl::Status WriteDataFolder(const std::string& directory, const std::string& data,
                             const std::map<std::string, std::string>& files) {
  const bool ours = Is(directory, data);
  for (const auto& [name, contents] : files) {
    const std::string path = JoinPath(directory, name);
    if (ours || !FileExists(path)) continue;
    const absl::StatusOr<std::string> there = ReadFile(path);
    if (there.ok() && *there == contents) continue;
    return absl::AlreadyExistsError(absl::StrCat(path, " exists and is not of the data set '", data,
                                                 "': not overwritten; choose another folder or remove it"));
  }
  for (const auto& [name, contents] : files) {
    const std::string path = JoinPath(directory, name);
    HONE_RETURN_IF_ERROR(CreateDirectories(path.substr(0, path.rfind('/'))));
    HONE_RETURN_IF_ERROR(WriteFileAtomic(path, contents));
  }
  return WriteFileAtomic(JoinPath(directory, kMarker), nlohmann::json{{"data", data}}.dump() + "\n");
}

}  // namespace hone::corpus
