// JSON from files that nobody vouches for: nlohmann::json behind limits on depth and size, with repeated keys refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {

// The longest JSON file of a model folder that is read; the largest tokenizer.json in use has about 35 MB.
inline constexpr uint64_t kMaxModelJsonBytes = uint64_t{512} << 20;

struct JsonLimits {
  int max_depth = 32;
  size_t max_values = 8'000'000;  // a value costs 16 bytes at least
};

// The value of `text`; INVALID_ARGUMENT "<what>: ..." where it is not JSON (with the byte at which it stops being so),
// exceeds a limit or repeats a key in an object.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view what, const JsonLimits& limits = {});

// `object[key]` if `object` is an object that has `key`, else nullptr.
const nlohmann::json* FindMember(const nlohmann::json& object, std::string_view key);

// `value` as text without ever throwing (ill-formed UTF-8 in a string becomes U+FFFD). A negative `indent` puts all on
// one line.
std::string DumpJson(const nlohmann::json& value, int indent = 2);

// The SAX handler behind ParseJson. A reader of a huge file handles its own part of the events and passes on the rest.
class JsonBuilder {
 public:
  explicit JsonBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(int64_t value) { return Add(value); }
  bool number_unsigned(uint64_t value) { return Add(value); }
  bool number_float(double value, const std::string&) { return Add(value); }
  bool string(std::string& value) { return Add(std::move(value)); }
  bool binary(std::vector<uint8_t>&) { return Fail("binary value"); }
  bool start_object(size_t) { return Open(nlohmann::json::object()); }
  bool start_array(size_t) { return Open(nlohmann::json::array()); }
  bool key(std::string& value);
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }
  bool parse_error(size_t position, const std::string& token, const nlohmann::json::exception& error);

  bool Fail(std::string message);  // remembers the first message, returns false
  const std::string& error() const { return error_; }
  int depth() const { return static_cast<int>(open_.size()); }
  nlohmann::json Take() { return std::move(root_); }

 private:
  bool Add(nlohmann::json value);
  bool Open(nlohmann::json value);
  bool Close();
  nlohmann::json* Place(nlohmann::json value);

  JsonLimits limits_;
  size_t values_ = 0;
  nlohmann::json root_;
  std::vector<nlohmann::json*> open_;  // the containers being filled; stable, for only the innermost one grows
  std::string key_;
  std::string error_;
};

}  // namespace hone::model
