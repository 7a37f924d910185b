#include "base/json_rows.h"

#include <cmath>
#include <set>
#include <vector>

#include "base/status.h"
#include "base/strings.h"

namespace hone {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxIdBytes = 256;

}  // namespace

absl::StatusOr<Json> ParseJsonRow(std::string_view line) {
  if (!IsValidUtf8(line)) return absl::InvalidArgumentError("not UTF-8");
  std::string duplicate;
  std::vector<std::set<std::string>> keys;
  const Json::parser_callback_t watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      duplicate = value.get<std::string>();
    }
    return true;
  };
  try {
    Json object = Json::parse(line, watch);
    if (!duplicate.empty()) return absl::InvalidArgumentError("key '" + duplicate + "' appears twice");
    if (!object.is_object()) return absl::InvalidArgumentError("expected a JSON object");
    return object;
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(std::string("not JSON: ") + e.what());
  }
}

absl::StatusOr<std::string> ScalarText(const Json& object, const std::string& key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::string();
  if (it->is_string()) return it->get<std::string>();
  // An integer literal beyond 64 bits has become the nearest double by now: another number than the row's.
  if (it->is_number_float() && std::fabs(it->get<double>()) >= 0x1p63) {
    return absl::InvalidArgumentError(
        "key '" + key + "': the number has more than 63 bits, which JSON readers round: " + "write it as a string");
  }
  if (it->is_number() || it->is_boolean()) return it->dump();
  return absl::InvalidArgumentError("key '" + key + "': expected a string or a number, got " + it->type_name());
}

absl::StatusOr<std::string> RowId(const Json& row, const std::string& key, int64_t line_number) {
  HONE_ASSIGN_OR_RETURN(std::string id, ScalarText(row, key));
  if (id.empty()) return std::to_string(line_number);
  if (id.size() > kMaxIdBytes || id.find('\n') != std::string::npos) {
    return absl::InvalidArgumentError("key '" + key + "': expected one line of at most " + std::to_string(kMaxIdBytes) +
                                      " bytes");
  }
  return id;
}

}  // namespace hone
