// Reads the fields of a JSON object by name and type, and knows which were never asked for.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"

namespace hone::serve {

// The body as JSON. INVALID_ARGUMENT: it is none, or it is nested deeper than any request needs (what prints or copies
// it recurses).
absl::StatusOr<nlohmann::json> ParseBody(const std::string& body);

// Every Read leaves `value` as it is where the field is absent or null. INVALID_ARGUMENT "<path>: expected <type>, got
// <value>".
class JsonFields {
 public:
  // `object` must outlive the reader. INVALID_ARGUMENT where it is none.
  static absl::StatusOr<JsonFields> Of(const nlohmann::json& object, const std::string& path = "");

  absl::Status Read(const char* name, bool* value);
  absl::Status Read(const char* name, int* value);
  absl::Status Read(const char* name, uint64_t* value);
  absl::Status Read(const char* name, float* value);
  absl::Status Read(const char* name, std::string* value);
  absl::Status Read(const char* name, std::vector<std::string>* value);
  absl::Status Read(const char* name, std::vector<int32_t>* value);
  // nullptr where the field is absent or null.
  const nlohmann::json* Find(const char* name);
  // Marks fields that are taken and have no effect.
  void Ignore(std::initializer_list<const char*> names);
  // INVALID_ARGUMENT naming a field that was not asked for, and the known one that is most like it.
  absl::Status CheckAllKnown() const;

  absl::Status Refuse(const std::string& name, const std::string& expected, const nlohmann::json& got) const;

 private:
  JsonFields(const nlohmann::json* object, std::string path) : object_(object), path_(std::move(path)) {}
  template <typename T, typename Is>
  absl::Status ReadOne(const char* name, const char* expected, Is is, T* value);

  const nlohmann::json* object_;
  std::string path_;
  std::set<std::string> known_;
};

}  // namespace hone::serve
