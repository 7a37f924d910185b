#include <mutex>

#include "base/crash_point.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/core/record_time.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace hone::coordinator {
namespace {

constexpr int kLayout = 1;  // user_version; another one is begun anew

constexpr char kSchema[] = R"sql(
  CREATE TABLE IF NOT EXISTS applied(one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL);
  INSERT OR IGNORE INTO applied VALUES (1, 0);
  CREATE TABLE IF NOT EXISTS runs(name TEXT PRIMARY KEY, state TEXT NOT NULL, error TEXT NOT NULL, output_dir TEXT NOT NULL,
    create_time REAL NOT NULL, change_time REAL NOT NULL);
  CREATE TABLE IF NOT EXISTS stages(run TEXT, stage TEXT, steps INTEGER, path TEXT, root_hash TEXT, PRIMARY KEY (run, stage));
  CREATE TABLE IF NOT EXISTS versions(run TEXT, number INTEGER, parent INTEGER, learner_epoch INTEGER, root_hash TEXT,
    stage TEXT, step INTEGER, PRIMARY KEY (run, number));
  CREATE TABLE IF NOT EXISTS checkpoints(run TEXT, stage TEXT, step INTEGER, path TEXT, root_hash TEXT,
    PRIMARY KEY (run, stage, step));
  CREATE TABLE IF NOT EXISTS metrics(position INTEGER PRIMARY KEY, run TEXT, stage TEXT, step INTEGER, message BLOB);
  CREATE INDEX IF NOT EXISTS metrics_by_run ON metrics(run, position);
  CREATE TABLE IF NOT EXISTS metric_values(run TEXT, stage TEXT, step INTEGER, name TEXT, value REAL);
  CREATE TABLE IF NOT EXISTS groups(position INTEGER PRIMARY KEY, run TEXT, stage TEXT, step INTEGER, slot INTEGER,
    purpose INTEGER, group_id INTEGER, prompt_id TEXT, samples INTEGER);
  CREATE INDEX IF NOT EXISTS groups_by_run ON groups(run, position);
)sql";

double Seconds(const google::protobuf::Timestamp& time) {
  return absl::ToDoubleSeconds(FromProtoTime(time) - absl::UnixEpoch());
}

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(Database database) : database_(std::move(database)) {}

  absl::StatusOr<int64_t> AppliedPosition() override {
    const std::lock_guard lock(mutex_);
    return AppliedLocked();
  }
  absl::Status ApplyRecords(const std::vector<StoredRecord>& records) override;
  absl::StatusOr<std::vector<int64_t>> ListGroups(const GroupQuery& query) override;
  absl::StatusOr<std::vector<StoredMetrics>> ListMetrics(const std::string& run,
                                                         const std::optional<std::string>& stage, int64_t after,
                                                         int32_t limit) override;

 private:
  absl::StatusOr<int64_t> AppliedLocked() {
    HONE_ASSIGN_OR_RETURN(Statement statement, Statement::Prepare(database_.get(), "SELECT position FROM applied"));
    HONE_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return absl::DataLossError("store: no applied position");
    return statement.Int(0);
  }
  template <typename... Values>
  absl::Status Write(const std::string& sql, const Values&... values) {
    HONE_ASSIGN_OR_RETURN(Statement statement, Statement::Prepare(database_.get(), sql));
    (statement.Bind(values), ...);
    return statement.Finish();
  }
  absl::Status WriteRecord(const StoredRecord& stored);
  absl::Status WriteMetrics(const StoredRecord& stored, const std::string& run, const std::string& stage, int32_t step,
                            const google::protobuf::Map<std::string, double>& values);
  absl::Status WriteAll(const std::vector<StoredRecord>& records);

  std::mutex mutex_;
  Database database_;
};

absl::Status SqliteStore::WriteMetrics(const StoredRecord& stored, const std::string& run, const std::string& stage,
                                       int32_t step, const google::protobuf::Map<std::string, double>& values) {
  v1::StepMetrics message;
  message.set_stage(stage);
  message.set_step(step);
  *message.mutable_time() = stored.record.time();
  *message.mutable_values() = values;
  HONE_ASSIGN_OR_RETURN(Statement statement,
                        Statement::Prepare(database_.get(), "INSERT INTO metrics VALUES (?,?,?,?,?)"));
  statement.Bind(stored.span.begin).Bind(run).Bind(stage).Bind(int64_t{step}).BindBlob(message.SerializeAsString());
  HONE_RETURN_IF_ERROR(statement.Finish());
  for (const auto& [name, value] : values) {
    HONE_RETURN_IF_ERROR(Write("INSERT INTO metric_values VALUES (?,?,?,?,?)", run, stage, int64_t{step}, name, value));
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::WriteRecord(const StoredRecord& stored) {
  const v1::JournalRecord& record = stored.record;
  switch (record.event_case()) {
    case v1::JournalRecord::kRunCreated: {
      const auto& e = record.run_created();
      const double time = Seconds(record.time());
      return Write("INSERT OR REPLACE INTO runs VALUES (?,'QUEUED','',?,?,?)", e.run(), e.output_dir(), time, time);
    }
    case v1::JournalRecord::kRunStateChanged: {
      const auto& e = record.run_state_changed();
      return Write("UPDATE runs SET state=?, error=?, change_time=? WHERE name=?",
                   v1::RunState_Name(e.state()).substr(sizeof("RUN_STATE_") - 1), e.error(), Seconds(record.time()),
                   e.run());
    }
    case v1::JournalRecord::kVersionPublished: {
      const auto& e = record.version_published();
      return Write("INSERT OR REPLACE INTO versions VALUES (?,?,?,?,?,?,?)", e.run(), e.version().number(),
                   e.version().parent(), e.version().learner_epoch(), e.version().root_hash(), e.stage(),
                   int64_t{e.step()});
    }
    case v1::JournalRecord::kGroupRecorded: {
      const auto& e = record.group_recorded();
      return Write("INSERT INTO groups VALUES (?,?,?,?,?,?,?,?,?)", stored.span.begin, e.run(), e.stage(),
                   int64_t{e.step()}, int64_t{e.slot()}, static_cast<int64_t>(e.purpose()),
                   static_cast<int64_t>(e.group().group_id()), e.group().prompt_id(),
                   int64_t{e.group().trajectories_size()});
    }
    case v1::JournalRecord::kStepRecorded: {
      const auto& e = record.step_recorded();
      return WriteMetrics(stored, e.run(), e.stage(), e.step(), e.metrics());
    }
    case v1::JournalRecord::kEvaluationRecorded: {
      const auto& e = record.evaluation_recorded();
      return WriteMetrics(stored, e.run(), e.stage(), e.step(), e.metrics());
    }
    case v1::JournalRecord::kCheckpointRecorded: {
      const auto& e = record.checkpoint_recorded();
      return Write("INSERT OR REPLACE INTO checkpoints VALUES (?,?,?,?,?)", e.run(), e.stage(), int64_t{e.step()},
                   e.path(), e.root_hash());
    }
    case v1::JournalRecord::kStageFinished: {
      const auto& e = record.stage_finished();
      return Write("INSERT OR REPLACE INTO stages VALUES (?,?,?,?,?)", e.run(), e.stage(), int64_t{e.steps()}, e.path(),
                   e.root_hash());
    }
    case v1::JournalRecord::kLearnerEpochStarted:
    case v1::JournalRecord::EVENT_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::WriteAll(const std::vector<StoredRecord>& records) {
  for (const StoredRecord& record : records) HONE_RETURN_IF_ERROR(WriteRecord(record));
  HONE_RETURN_IF_ERROR(Write("UPDATE applied SET position=?", records.back().span.end));
  HONE_CRASH_POINT("projection.before_commit");
  return Execute(database_.get(), "COMMIT");
}

absl::Status SqliteStore::ApplyRecords(const std::vector<StoredRecord>& records) {
  if (records.empty()) return absl::OkStatus();
  const std::lock_guard lock(mutex_);
  HONE_ASSIGN_OR_RETURN(const int64_t applied, AppliedLocked());
  if (records.front().span.begin != applied) {
    return absl::FailedPreconditionError("store: expected records from position " + std::to_string(applied) +
                                         ", got position " + std::to_string(records.front().span.begin));
  }
  HONE_RETURN_IF_ERROR(Execute(database_.get(), "BEGIN IMMEDIATE"));
  const absl::Status status = WriteAll(records);
  if (!status.ok()) sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  return status;
}

absl::StatusOr<std::vector<int64_t>> SqliteStore::ListGroups(const GroupQuery& query) {
  const std::lock_guard lock(mutex_);
  std::string sql = "SELECT position FROM groups WHERE run=? AND samples>0";
  if (query.before >= 0) sql += " AND position<?";
  if (query.stage.has_value()) sql += " AND stage=?";
  if (query.step.has_value()) sql += " AND step=?";
  if (query.purpose != v1::GROUP_PURPOSE_UNSPECIFIED) sql += " AND purpose=?";
  HONE_ASSIGN_OR_RETURN(Statement statement,
                        Statement::Prepare(database_.get(), sql + " ORDER BY position DESC LIMIT ?"));
  statement.Bind(query.run);
  if (query.before >= 0) statement.Bind(query.before);
  if (query.stage.has_value()) statement.Bind(*query.stage);
  if (query.step.has_value()) statement.Bind(int64_t{*query.step});
  if (query.purpose != v1::GROUP_PURPOSE_UNSPECIFIED) statement.Bind(static_cast<int64_t>(query.purpose));
  statement.Bind(int64_t{query.limit});
  std::vector<int64_t> positions;
  while (true) {
    HONE_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return positions;
    positions.push_back(statement.Int(0));
  }
}

absl::StatusOr<std::vector<StoredMetrics>> SqliteStore::ListMetrics(const std::string& run,
                                                                    const std::optional<std::string>& stage,
                                                                    int64_t after, int32_t limit) {
  const std::lock_guard lock(mutex_);
  const std::string filter = stage.has_value() ? " AND stage=?" : "";
  HONE_ASSIGN_OR_RETURN(
      Statement statement,
      Statement::Prepare(database_.get(), "SELECT position, message FROM metrics WHERE run=? AND position>?" + filter +
                                              " ORDER BY position LIMIT ?"));
  statement.Bind(run).Bind(after);
  if (stage.has_value()) statement.Bind(*stage);
  statement.Bind(int64_t{limit});
  std::vector<StoredMetrics> metrics;
  while (true) {
    HONE_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return metrics;
    StoredMetrics entry;
    entry.position = statement.Int(0);
    if (!entry.metrics.ParseFromString(statement.Bytes(1))) {
      return absl::DataLossError("store: metrics at position " + std::to_string(entry.position) + " do not parse");
    }
    metrics.push_back(std::move(entry));
  }
}

absl::StatusOr<Database> TryOpen(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) return SqliteStatus(raw, code, path);
  sqlite3_busy_timeout(raw, 5000);
  // NORMAL may lose the newest transactions with the power: the journal has them.
  HONE_RETURN_IF_ERROR(Execute(raw, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"));
  {
    HONE_ASSIGN_OR_RETURN(Statement check, Statement::Prepare(raw, "PRAGMA quick_check(1)"));
    HONE_ASSIGN_OR_RETURN(const bool row, check.Step());
    if (!row || check.Bytes(0) != "ok") return absl::DataLossError(path + ": " + check.Bytes(0));
    HONE_ASSIGN_OR_RETURN(Statement layout, Statement::Prepare(raw, "PRAGMA user_version"));
    HONE_ASSIGN_OR_RETURN(const bool has_layout, layout.Step());
    const int64_t version = has_layout ? layout.Int(0) : 0;
    if (version != 0 && version != kLayout) {
      return absl::DataLossError(path + ": layout " + std::to_string(version) + ", expected " +
                                 std::to_string(kLayout));
    }
  }
  HONE_RETURN_IF_ERROR(
      Execute(raw, "BEGIN;" + std::string(kSchema) + "PRAGMA user_version=" + std::to_string(kLayout) + ";COMMIT"));
  return database;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  absl::StatusOr<Database> database = TryOpen(path);
  if (database.status().code() == absl::StatusCode::kDataLoss) {
    HONE_WARNING << "store " << path
                 << " is moved aside and made again from the journal: " << std::string(database.status().message());
    HONE_RETURN_IF_ERROR(RenamePath(path, path + ".damaged"));
    for (const char* suffix : {"-wal", "-shm"}) HONE_RETURN_IF_ERROR(RemoveTree(path + suffix));
    database = TryOpen(path);
  }
  if (!database.ok()) return database.status();
  return std::make_unique<SqliteStore>(*std::move(database));
}

}  // namespace hone::coordinator
