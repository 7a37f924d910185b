// Run files: YAML read against the protobuf schema.
//
// The text is walked against the message's descriptors, not through JSON, so that every error names the file, the line,
// the column and the field's path:
//
//   recipes/x.yaml:12:5: stages[1].rl.group_szie: unknown field; did you mean 'group_size'?
//
// What is accepted, beside plain YAML 1.2 mappings and lists:
//   - enum values in lower case without the enum's prefix (`schedule: linear` for LR_SCHEDULE_LINEAR);
//   - durations as numbers with units, largest first (`30s`, `5m`, `1h30m`, `250ms`, also us and ns);
//   - anchors and aliases, expanded up to a limit, never recursive.
// What is refused, though a laxer reader would take it: unknown fields, duplicate keys, two members of a oneof, a
// scalar where a list is expected, quoted numbers and booleans, `1e3` or `010` for an integer, booleans other than true
// and false, empty values, merge keys, several documents, invalid UTF-8, files over kMaxYamlBytes.
//
// All functions are thread-safe. Every error of the text is INVALID_ARGUMENT; a file that cannot be read has the Status
// of ReadFile.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "hone/v1/run.pb.h"

namespace hone {

inline constexpr size_t kMaxYamlBytes = 1 << 20;  // a run file is pages, not megabytes
inline constexpr size_t kMaxYamlNodes = 100'000;  // after the expansion of aliases
inline constexpr int kMaxYamlDepth = 64;          // the schema itself is under 12 deep

// The run file at `path`, as written: nothing is filled in (see resolve.h).
absl::StatusOr<v1::RunSpec> ReadRunFile(const std::string& path);

// The same for a text; `file_name` is only for messages.
absl::StatusOr<v1::RunSpec> ParseRunYaml(std::string_view text, std::string_view file_name);

// Any message type. `*message` is replaced; on an error it is left cleared.
absl::Status ParseYamlMessage(std::string_view text, std::string_view file_name, google::protobuf::Message* message);

}  // namespace hone
