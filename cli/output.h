// What the commands print: data on stdout (a table for people or JSON for programs), messages on stderr.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace google::protobuf {
class Message;
}

namespace hone::cli {

// "hone: <message>" on stderr; returns the exit code for it.
int Fail(const absl::Status& status);
// "hone: <text>" on stderr: something that the user should know.
void Note(const std::string& text);
// On stdout, as it is.
void Print(const std::string& text);

// kExitUsage, with a message, unless `text` (of --output) is "table" or "json".
std::optional<int> RefuseOutputFlag(const std::string& text);

// A message as JSON with the schema's own field names: on one line, or indented.
std::string ToJson(const google::protobuf::Message& message, bool indent);

// Columns of text, padded; numbers are right-aligned where `right` says so. Widths count characters, CJK ones twice.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void AlignRight(size_t column) { right_.push_back(column); }
  bool empty() const { return rows_.size() == 1; }
  std::string ToText() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> right_;
};

// "1h 02m", "3m 05s", "41s", "0.4s"
std::string ShortDuration(absl::Duration duration);
// "12,345"
std::string Grouped(int64_t value);
// Three significant digits ("0.0312", "1.42", "18300").
std::string ShortNumber(double value);
// First line of `text`, cut to `width` characters.
std::string OneLine(const std::string& text, size_t width);

}  // namespace hone::cli
