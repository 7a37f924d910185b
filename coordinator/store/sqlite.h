// SQLite as Statuses and owners. Private to store/.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace hone::coordinator {

// The status of an SQLite result code: FULL -> RESOURCE_EXHAUSTED, CORRUPT and NOTADB -> DATA_LOSS, others INTERNAL.
absl::Status SqliteStatus(sqlite3* database, int code, const std::string& what);

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

absl::Status Execute(sqlite3* database, const std::string& sql);

// One prepared statement, bound from left to right and stepped.
class Statement {
 public:
  static absl::StatusOr<Statement> Prepare(sqlite3* database, const std::string& sql);
  Statement& Bind(int64_t value);
  Statement& Bind(double value);
  Statement& Bind(std::string_view value);  // text
  Statement& BindBlob(std::string_view value);
  // True where a row is there.
  absl::StatusOr<bool> Step();
  // Steps to the end, and makes the statement ready for other values.
  absl::Status Finish();
  int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  std::string Bytes(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int next_ = 1;
};

}  // namespace hone::coordinator
