#include "cli/output.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/exit_codes.h"

namespace hone::cli {
namespace {

// The number of terminal cells that the character at `*i` takes; moves past it.
size_t NextWidth(const std::string& text, size_t* i) {
  const auto lead = static_cast<uint8_t>(text[*i]);
  const size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t code = bytes == 1 ? lead : lead & (0x3Fu >> (bytes - 1));
  for (size_t k = 1; k < bytes && *i + k < text.size(); ++k) {
    code = code << 6 | (static_cast<uint8_t>(text[*i + k]) & 0x3F);
  }
  *i = std::min(text.size(), *i + bytes);
  // Hangul, CJK, full-width forms and most emoji.
  const bool wide = (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
                    (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
                    (code >= 0xFE30 && code <= 0xFE6F) || (code >= 0xFF00 && code <= 0xFF60) ||
                    (code >= 0x1F300 && code <= 0x1FAFF);
  return wide ? 2 : 1;
}

size_t Width(const std::string& text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size();) width += NextWidth(text, &i);
  return width;
}

}  // namespace

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnavailable;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
      return kExitInvalidInput;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kResourceExhausted:
      return kExitRefused;
    default:
      return kExitFailed;
  }
}

int Fail(const absl::Status& status) {
  Note(std::string(status.message()));
  return ExitCodeOf(status);
}

void Note(const std::string& text) { std::fprintf(stderr, "hone: %s\n", text.c_str()); }

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::optional<int> RefuseOutputFlag(const std::string& text) {
  if (text == "table" || text == "json") return std::nullopt;
  Note(absl::StrCat("--output: expected table or json, got '", text, "'"));
  return kExitUsage;
}

std::string ToJson(const google::protobuf::Message& message, bool indent) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indent;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  // Only a malformed Any or Timestamp can fail; an empty text would hide it.
  if (const auto status = google::protobuf::util::MessageToJsonString(message, &text, options); !status.ok()) {
    return absl::StrCat("{\"error\": \"", "cannot be written as JSON", "\"}");
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string Table::ToText() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], Width(row[c]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - Width(row[c]), ' ');
      const bool right = std::find(right_.begin(), right_.end(), c) != right_.end();
      absl::StrAppend(&line, c == 0 ? "" : "  ", right ? pad : "", row[c], right ? "" : pad);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string ShortDuration(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (!(seconds < 1e9)) return "?";
  if (seconds < 1) return absl::StrFormat("%.1fs", std::max(0.0, seconds));
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return absl::StrCat(whole, "s");
  if (whole < 3600) return absl::StrFormat("%dm %02ds", whole / 60, whole % 60);
  return absl::StrFormat("%dh %02dm", whole / 3600, whole / 60 % 60);
}

std::string Grouped(int64_t value) {
  std::string digits = absl::StrCat(value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(at, ",");
  return value < 0 ? "-" + digits : digits;
}

std::string ShortNumber(double value) {
  if (std::isfinite(value) && std::abs(value) >= 1000 && std::abs(value) < 1e15) {
    return Grouped(static_cast<int64_t>(std::round(value)));
  }
  return absl::StrFormat("%.3g", value);
}

std::string OneLine(const std::string& text, size_t width) {
  std::string line;
  size_t used = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const size_t cells = NextWidth(text, &i);
    if (used + cells > width) return line + "...";
    const std::string piece = text.substr(begin, i - begin);
    line += piece == "\n" || piece == "\t" || piece == "\r" ? " " : piece;
    used += cells;
  }
  return line;
}

}  // namespace hone::cli
