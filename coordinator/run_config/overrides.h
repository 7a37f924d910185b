// `--set path=value`: one field of a run changed from the command line.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "hone/v1/run.pb.h"

namespace hone {

// Applies `assignment`, "<path>=<value>", to `*spec`.
//
// The path's parts are separated by dots: field names; for a list of messages the element's `name` or its index
// (`stages.rl` or `stages.1`); for a map the key. The value is YAML of the field's type, under the rules of
// yaml_reader.h: a scalar, or a list or mapping in flow style, which replaces the field as a whole. Messages on the way
// that are not set yet are made; list elements and map entries on the way must exist, and a oneof keeps the member that
// it has (a stage does not change its kind by accident).
//
// INVALID_ARGUMENT names the assignment and the part of the path that is wrong; `*spec` is then unchanged.
absl::Status ApplyOverride(v1::RunSpec* spec, std::string_view assignment);

// The same for any message type.
absl::Status ApplyOverrideTo(google::protobuf::Message* message, std::string_view assignment);

}  // namespace hone
