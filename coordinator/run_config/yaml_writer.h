// The inverse of yaml_reader.h: a message as a run file.
#pragma once

#include <string>

#include "hone/v1/run.pb.h"

namespace hone {

// A text that ParseRunYaml reads back to an equal message. Deterministic: fields in the schema's order, map keys
// sorted, doubles in the shortest form that reads back to the same bits. Only set fields are written. Values that no
// run file can express (a non-finite double, an UNSPECIFIED or unknown enum number, an empty list element) are outside
// of the promise; ResolveRunSpec refuses them.
std::string ToYaml(const v1::RunSpec& spec);

// Any message type without bytes fields.
std::string MessageToYaml(const google::protobuf::Message& message);

}  // namespace hone
