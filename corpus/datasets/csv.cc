#include "corpus/datasets/csv.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone::corpus::internal {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<CsvRecord>> Parse() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      CsvRecord record;
      record.line = line_;
      do {
        std::string field;
        if (absl::Status status = ReadField(&field); !status.ok()) return status;
        record.fields.push_back(std::move(field));
      } while (Take(','));
      Take('\r');
      if (Take('\n')) ++line_;
      records.push_back(std::move(record));
    }
    return records;
  }

 private:
  bool Take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool AtFieldEnd() const {
    if (at_ >= text_.size() || text_[at_] == ',' || text_[at_] == '\n') return true;
    return text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n';
  }

  absl::Status ReadField(std::string* field) {
    if (Take('"')) return ReadQuoted(field);
    while (!AtFieldEnd()) {
      if (text_[at_] == '"') return Error(line_, "a quote inside a field that does not start with one");
      *field += text_[at_++];
    }
    return absl::OkStatus();
  }

  absl::Status ReadQuoted(std::string* field) {
    const int64_t start = line_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c != '"') {
        if (c == '\n') ++line_;
        *field += c;
      } else if (Take('"')) {
        *field += '"';
      } else if (AtFieldEnd()) {
        return absl::OkStatus();
      } else {
        return Error(line_, "text after a closing quote");
      }
    }
    return Error(start, "a quote that is never closed");
  }

  static absl::Status Error(int64_t line, std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(line, ": ", absl::string_view(what.data(), what.size())));
  }

  std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

absl::StatusOr<std::vector<CsvRecord>> ParseCsv(std::string_view text) { return Parser(text).Parse(); }

}  // namespace hone::corpus::internal
