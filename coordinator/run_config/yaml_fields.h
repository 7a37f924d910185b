// One YAML value into one protobuf field: shared by the reader and by overrides. Private to run_config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/run_config/yaml_tree.h"
#include "google/protobuf/message.h"

namespace hone::internal {

// Fills `*message` from a mapping. `path` is the message's own path ("" for the root); `source` names the file.
absl::Status FillMessage(const YamlNode& node, std::string_view source, const std::string& path,
                         google::protobuf::Message* message);

// Sets one field, replacing what it held. Refuses a member of a oneof of which another member is set.
absl::Status FillField(const YamlNode& node, std::string_view source, const std::string& path,
                       google::protobuf::Message* message, const google::protobuf::FieldDescriptor* field);

// The field called `name`, else an error that suggests one, or lists all.
absl::StatusOr<const google::protobuf::FieldDescriptor*> FindField(const google::protobuf::Descriptor* type,
                                                                   std::string_view name);

// "did you mean 'x'?" where one of `known` is near, else "expected one of: a, b, c".
std::string Suggest(std::string_view word, const std::vector<std::string>& known);

// OK unless `field` is a member of a oneof of which another member is set.
absl::Status CheckOneof(const google::protobuf::Message& message, const google::protobuf::FieldDescriptor* field);

// "a.b" from "a" and "b"; "b" where `path` is empty.
std::string JoinField(const std::string& path, std::string_view name);

bool IsDuration(const google::protobuf::FieldDescriptor* field);
// An enum value's name in a run file: lower case, without the enum's prefix (what its UNSPECIFIED value's name begins
// with).
std::string EnumName(const google::protobuf::EnumValueDescriptor* value);

}  // namespace hone::internal
