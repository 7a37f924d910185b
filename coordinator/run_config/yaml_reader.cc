#include "coordinator/run_config/yaml_reader.h"

#include "base/files.h"
#include "base/status.h"
#include "coordinator/run_config/yaml_fields.h"
#include "coordinator/run_config/yaml_tree.h"

namespace hone {

absl::Status ParseYamlMessage(std::string_view text, std::string_view file_name, google::protobuf::Message* message) {
  message->Clear();
  HONE_ASSIGN_OR_RETURN(const internal::YamlNode root, internal::ParseYamlTree(text, file_name));
  absl::Status status = internal::FillMessage(root, file_name, "", message);
  if (!status.ok()) message->Clear();
  return status;
}

absl::StatusOr<v1::RunSpec> ParseRunYaml(std::string_view text, std::string_view file_name) {
  v1::RunSpec spec;
  HONE_RETURN_IF_ERROR(ParseYamlMessage(text, file_name, &spec));
  return spec;
}

absl::StatusOr<v1::RunSpec> ReadRunFile(const std::string& path) {
  HONE_ASSIGN_OR_RETURN(const uint64_t size, FileSize(path));
  if (size > kMaxYamlBytes) {
    return internal::YamlError(path, 0, 0, "too large for a run file (at most 1 MiB)");
  }
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseRunYaml(text, path);
}

}  // namespace hone
