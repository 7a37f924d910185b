#include "rollout_worker/serve/json_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/strings.h"

namespace hone::serve {

using nlohmann::json;

namespace {

constexpr int kDeepest = 32;
constexpr size_t kMostShown = 80;  // bytes of a value in an error

std::string Shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kMostShown) text = text.substr(0, kMostShown) + "...";
  return text;
}

bool IsInt32(const json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= std::numeric_limits<int32_t>::max();
  if (!value.is_number_integer()) return false;
  return value.get<int64_t>() >= std::numeric_limits<int32_t>::min() &&
         value.get<int64_t>() <= std::numeric_limits<int32_t>::max();
}

}  // namespace

absl::StatusOr<json> ParseBody(const std::string& body) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if ((c == '[' || c == '{') && ++depth > kDeepest) {
      return absl::InvalidArgumentError(absl::StrCat("the body is nested deeper than ", kDeepest, " levels"));
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  json parsed = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return absl::InvalidArgumentError("the body is not JSON");
  return parsed;
}

absl::StatusOr<JsonFields> JsonFields::Of(const json& object, const std::string& path) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.empty() ? "the request" : path, ": expected an object, got ", Shown(object)));
  }
  return JsonFields(&object, path.empty() ? path : path + ".");
}

absl::Status JsonFields::Refuse(const std::string& name, const std::string& expected, const json& got) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, name, ": expected ", expected, ", got ", Shown(got)));
}

const json* JsonFields::Find(const char* name) {
  known_.insert(name);
  const auto it = object_->find(name);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

template <typename T, typename Is>
absl::Status JsonFields::ReadOne(const char* name, const char* expected, Is is, T* value) {
  const json* found = Find(name);
  if (found == nullptr) return absl::OkStatus();
  if (!is(*found)) return Refuse(name, expected, *found);
  *value = found->get<T>();
  return absl::OkStatus();
}

absl::Status JsonFields::Read(const char* name, bool* value) {
  return ReadOne(
      name, "true or false", [](const json& v) { return v.is_boolean(); }, value);
}

absl::Status JsonFields::Read(const char* name, int* value) {
  return ReadOne(name, "a whole number of 32 bits", IsInt32, value);
}

absl::Status JsonFields::Read(const char* name, uint64_t* value) {
  const auto is = [](const json& v) {
    return v.is_number_unsigned() || (v.is_number_integer() && v.get<int64_t>() >= 0);
  };
  return ReadOne(name, "a whole number, 0 or more", is, value);
}

absl::Status JsonFields::Read(const char* name, float* value) {
  const auto is = [](const json& v) { return v.is_number() && std::isfinite(v.get<double>()); };
  return ReadOne(name, "a number", is, value);
}

absl::Status JsonFields::Read(const char* name, std::string* value) {
  return ReadOne(
      name, "a string", [](const json& v) { return v.is_string(); }, value);
}

absl::Status JsonFields::Read(const char* name, std::vector<std::string>* value) {
  const json* found = Find(name);
  if (found == nullptr) return absl::OkStatus();
  if (found->is_string()) {
    *value = {found->get<std::string>()};
    return absl::OkStatus();
  }
  const auto is = [](const json& v) { return v.is_string(); };
  if (!found->is_array() || !std::all_of(found->begin(), found->end(), is)) {
    return Refuse(name, "a string or a list of strings", *found);
  }
  *value = found->get<std::vector<std::string>>();
  return absl::OkStatus();
}

absl::Status JsonFields::Read(const char* name, std::vector<int32_t>* value) {
  const auto is = [](const json& v) { return v.is_array() && std::all_of(v.begin(), v.end(), IsInt32); };
  return ReadOne(name, "a list of whole numbers", is, value);
}

void JsonFields::Ignore(std::initializer_list<const char*> names) { known_.insert(names.begin(), names.end()); }

absl::Status JsonFields::CheckAllKnown() const {
  for (const auto& [name, value] : object_->items()) {
    if (known_.contains(name)) continue;
    const std::string near = NearestName(name, {known_.begin(), known_.end()});
    return absl::InvalidArgumentError(absl::StrCat(path_, name, ": expected a known field, got this one",
                                                   near.empty() ? "" : absl::StrCat("; did you mean '", near, "'?")));
  }
  return absl::OkStatus();
}

}  // namespace hone::serve
