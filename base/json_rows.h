// Rows of JSON Lines files: one object a line. Whoever reads a data set's rows reads them here, so that a row has one
// id everywhere.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace hone {

// INVALID_ARGUMENT: not UTF-8, not JSON, not an object, a key that appears twice. Throws nothing.
absl::StatusOr<nlohmann::json> ParseJsonRow(std::string_view line);

// A scalar as text; "" where the key is absent or null. INVALID_ARGUMENT, with the key, for anything else.
absl::StatusOr<std::string> ScalarText(const nlohmann::json& row, const std::string& key);

// The row's id: the scalar at `key`; the line's number (from 1) where it is absent, null or empty. INVALID_ARGUMENT,
// with the key: not one line of at most 256 bytes.
absl::StatusOr<std::string> RowId(const nlohmann::json& row, const std::string& key, int64_t line_number);

}  // namespace hone
