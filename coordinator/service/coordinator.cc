#include "coordinator/service/coordinator.h"

#include <unistd.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "base/crash_point.h"
#include "base/logging.h"
#include "base/status.h"
#include "coordinator/data/dataset_reader.h"
#include "coordinator/service/execute.h"
#include "coordinator/service/projection_batch.h"

namespace hone::coordinator {
namespace {

constexpr absl::Duration kReportAge = absl::Seconds(5);

std::string HolderOf(const std::string& pid_path) {
  const auto pid = ReadFile(pid_path);
  return pid.ok() && !pid->empty() ? "process " + pid->substr(0, pid->find('\n')) : "another process";
}

}  // namespace

Coordinator::Coordinator(const Options& options) : options_(options) {}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const Options& options) {
  std::unique_ptr<Coordinator> coordinator(new Coordinator(options));
  HONE_RETURN_IF_ERROR(coordinator->Open());
  coordinator->ticker_ = std::thread([c = coordinator.get()] { c->TickLoop(); });
  coordinator->projector_ = std::thread([c = coordinator.get()] { c->ProjectLoop(); });
  return coordinator;
}

Coordinator::~Coordinator() {
  Close();
  if (ticker_.joinable()) ticker_.join();
  if (projector_.joinable()) projector_.join();
}

void Coordinator::Close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
}

absl::Status Coordinator::Open() {
  HONE_RETURN_IF_ERROR(CreateDirectories(options_.state_directory));
  const std::string pid_path = JoinPath(options_.state_directory, "coordinator.pid");
  auto lock = FileLock::Acquire(JoinPath(options_.state_directory, "lock"));
  if (lock.status().code() == absl::StatusCode::kFailedPrecondition) {
    return absl::FailedPreconditionError("state directory " + options_.state_directory + " is used by " +
                                         HolderOf(pid_path) + ": one state has one coordinator");
  }
  if (!lock.ok()) return lock.status();
  lock_ = *std::move(lock);
  HONE_RETURN_IF_ERROR(WriteFileAtomic(pid_path, std::to_string(getpid()) + "\n"));

  CoreOptions core_options = options_.core;
  core_options.incarnation = std::to_string(absl::ToUnixMicros(absl::Now()));
  core_options.working_directory = options_.working_directory;
  core_ = std::make_unique<Core>(core_options, [this](const v1::JournalRecord& record) {
    const Journal::Span span = journal_->Append(record.SerializeAsString());
    return RecordSpan{span.begin, span.end};
  });
  Journal::Options journal_options;
  journal_options.directory = JoinPath(options_.state_directory, "journal");
  journal_options.segment_bytes = options_.segment_bytes;
  HONE_ASSIGN_OR_RETURN(
      journal_, Journal::Open(journal_options, [this](std::string_view payload, Journal::Span span) -> absl::Status {
        v1::JournalRecord record;
        if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
          return absl::DataLossError("journal position " + std::to_string(span.begin) + ": not a journal record");
        }
        return core_->Apply(record, {span.begin, span.end});
      }));
  const std::string database = JoinPath(options_.state_directory, "state.sqlite");
  HONE_ASSIGN_OR_RETURN(store_, OpenSqliteStore(database));
  HONE_ASSIGN_OR_RETURN(const int64_t applied, store_->AppliedPosition());
  if (applied > journal_->end()) {
    return absl::DataLossError("journal " + journal_options.directory + " ends at position " +
                               std::to_string(journal_->end()) + ", but " + database + " has seen position " +
                               std::to_string(applied) +
                               ": acknowledged records are gone. Restore the journal, or remove the database to go on "
                               "without them");
  }
  projected_ = applied;
  reports_ = std::make_unique<Reports>(
      [this](int64_t end, const std::function<void(const v1::JournalRecord&)>& visit) -> absl::Status {
        v1::JournalRecord record;
        for (int64_t position = 0; position < end;) {
          HONE_ASSIGN_OR_RETURN(const std::string payload, journal_->Read(position, &position));
          if (!record.ParseFromString(payload)) return absl::DataLossError("a record does not parse");
          visit(record);
        }
        return absl::OkStatus();
      },
      [this](const std::string& run) {
        const std::lock_guard lock(mutex_);
        const RunState* state = core_->FindRun(run);
        return state == nullptr ? 0 : absl::ToDoubleSeconds(state->RunningTime(Now()));
      });
  {
    const std::lock_guard guard(mutex_);
    core_->RestartClock(Now());  // a run that fails below is not charged for the time that nobody was here
  }
  for (const std::string& run : core_->RunsThatNeedPrompts()) {
    if (const absl::Status status = LoadPromptsOf(run); !status.ok()) {
      const std::lock_guard guard(mutex_);
      core_->FailRun(run, std::string(status.message()), Now());
    }
  }
  const std::lock_guard guard(mutex_);
  core_->Recover(Now());
  for (const std::string& name : core_->RunNames()) {
    const RunState* run = core_->FindRun(name);
    if (run->HasEnded()) reports_->TakeUp(name, run->output_dir(), run->state(), journal_->end());
  }
  HONE_INFO << "state " << options_.state_directory << ": " << core_->RunNames().size() << " runs, journal position "
            << journal_->end() << ", database at " << applied;
  return absl::OkStatus();
}

absl::Status Coordinator::LoadPromptsOf(const std::string& run) {
  v1::RunSpec spec;
  std::map<std::string, std::string> expected;
  {
    const std::lock_guard lock(mutex_);
    const RunState* state = core_->FindRun(run);
    if (state == nullptr) return absl::NotFoundError("no run named '" + run + "'");
    spec = state->spec();
    expected = state->source_sha256();
  }
  HONE_ASSIGN_OR_RETURN(LoadedPrompts loaded, LoadPrompts(spec, options_.working_directory));
  for (const auto& [path, hash] : loaded.source_sha256) {
    const auto before = expected.find(path);
    if (before != expected.end() && before->second != hash) {
      return absl::FailedPreconditionError(path + ": the file has changed since the run began (SHA-256 " +
                                           before->second + " then, " + hash + " now)");
    }
  }
  const std::lock_guard lock(mutex_);
  core_->SetPrompts(run, std::move(loaded.sets));
  return absl::OkStatus();
}

absl::Time Coordinator::Now() {
  last_now_ = std::max(last_now_, absl::Now());
  return last_now_;
}

void Coordinator::TickLoop() {
  std::unique_lock lock(mutex_);
  absl::Time obstacle_logged = absl::InfinitePast();
  while (!closing_) {
    if (journal_->Ready().ok()) {
      const absl::Time now = Now();
      core_->Tick(now);
      const std::string obstacle = core_->Obstacle();
      if (!obstacle.empty() && now > obstacle_logged + absl::Seconds(10)) {
        // Only what lasts is worth a line: members need a moment to register.
        if (obstacle == last_obstacle_) HONE_WARNING << obstacle;
        obstacle_logged = now;
        last_obstacle_ = obstacle;
      }
      ++change_count_;
      changed_.notify_all();
    }
    changed_.wait_for(lock, absl::ToChronoNanoseconds(options_.tick_interval), [&] { return closing_.load(); });
  }
}

absl::Status Coordinator::ProjectOnce(int64_t durable_end) {
  while (projected_ < durable_end) {
    HONE_ASSIGN_OR_RETURN(const std::vector<StoredRecord> batch, ReadBatch(*journal_, projected_, durable_end));
    // Reports first: after a crash between the two, the record comes again, and the reporter skips what it has.
    for (const StoredRecord& stored : batch) reports_->Handle(stored.record, stored.span);
    HONE_RETURN_IF_ERROR(store_->ApplyRecords(batch));
    projected_ = batch.back().span.end;
    {
      const std::lock_guard lock(mutex_);
      ++change_count_;
    }
    changed_.notify_all();
  }
  return absl::OkStatus();
}

void Coordinator::ProjectLoop() {
  while (true) {
    // Read before the wait: what is durable when the coordinator closes is still projected.
    const bool last = closing_;
    const int64_t durable_end = journal_->WaitBeyond(projected_, last ? absl::ZeroDuration() : absl::Milliseconds(200));
    if (const absl::Status status = ProjectOnce(durable_end); !status.ok()) {
      HONE_ERROR << "projection stands at position " << projected_.load() << ": " << std::string(status.message());
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::seconds(1), [&] { return closing_.load(); });
    }
    reports_->Refresh(last ? absl::ZeroDuration() : kReportAge);
    if (last) return;
  }
}

}  // namespace hone::coordinator
