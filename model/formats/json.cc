#include "model/formats/json.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/strings.h"

namespace hone::model {

using nlohmann::json;

bool JsonBuilder::Fail(std::string message) {
  if (error_.empty()) error_ = std::move(message);
  return false;
}

bool JsonBuilder::key(std::string& value) {
  if (open_.back()->contains(value)) return Fail(absl::StrCat("key '", value.substr(0, 200), "' appears twice"));
  key_ = std::move(value);
  return true;
}

bool JsonBuilder::parse_error(size_t position, const std::string&, const json::exception&) {
  return Fail(absl::StrCat("not valid JSON at byte ", position));
}

json* JsonBuilder::Place(json value) {
  if (open_.empty()) {
    root_ = std::move(value);
    return &root_;
  }
  json& parent = *open_.back();
  if (parent.is_array()) {
    parent.push_back(std::move(value));
    return &parent.back();
  }
  json& slot = parent[key_];
  slot = std::move(value);
  return &slot;
}

bool JsonBuilder::Add(json value) {
  if (++values_ > limits_.max_values) return Fail(absl::StrCat("more than ", limits_.max_values, " values"));
  Place(std::move(value));
  return true;
}

bool JsonBuilder::Open(json value) {
  if (++values_ > limits_.max_values) return Fail(absl::StrCat("more than ", limits_.max_values, " values"));
  if (depth() >= limits_.max_depth) return Fail(absl::StrCat("nested deeper than ", limits_.max_depth, " levels"));
  open_.push_back(Place(std::move(value)));
  return true;
}

bool JsonBuilder::Close() {
  open_.pop_back();
  return true;
}

absl::StatusOr<json> ParseJson(std::string_view text, std::string_view what, const JsonLimits& limits) {
  JsonBuilder builder(limits);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    const std::string& error = builder.error();
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(what), ": ", error.empty() ? "not valid JSON" : error));
  }
  return builder.Take();
}

const json* FindMember(const json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(key));
  return it == object.end() ? nullptr : &*it;
}

std::string DumpJson(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

}  // namespace hone::model
