// The commands of ControlService.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "base/paths.h"
#include "base/status.h"
#include "coordinator/data/dataset_reader.h"
#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/schema_words.h"
#include "coordinator/service/execute.h"
#include "rpc/limits.h"

namespace hone::coordinator {
namespace {

constexpr std::string_view kRunPrefix = "runs/";

// "demo" and "runs/demo" both mean the run demo.
std::string PlainName(const std::string& name) {
  return name.starts_with(kRunPrefix) ? name.substr(kRunPrefix.size()) : name;
}

int32_t PageSize(int32_t asked, int32_t standard, int32_t most) {
  return asked <= 0 ? standard : std::min(asked, most);
}

// "<a>:<b>", both counted from 0; INVALID_ARGUMENT for anything else. An empty token is {-1, 0}.
absl::StatusOr<std::pair<int64_t, int64_t>> ParseToken(const std::string& token) {
  std::pair<int64_t, int64_t> result{-1, 0};
  if (token.empty()) return result;
  const char* end = token.data() + token.size();
  const auto first = std::from_chars(token.data(), end, result.first);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
    const auto second = std::from_chars(first.ptr + 1, end, result.second);
    if (second.ec == std::errc() && second.ptr == end && result.first >= 0 && result.second >= 0) return result;
  }
  return absl::InvalidArgumentError("page_token: expected one of an earlier answer, got '" + token + "'");
}

std::string MakeToken(int64_t a, int64_t b) { return std::to_string(a) + ":" + std::to_string(b); }

// Makes the folder, which no run of this coordinator has; refuses one that holds what a run leaves.
absl::Status PrepareOutputFolder(const std::string& output_dir) {
  for (const char* trace :
       {"run.yaml", "metrics.jsonl", "samples.jsonl", "summary.json", "report.html", "tensorboard", "checkpoints"}) {
    if (FileExists(JoinPath(output_dir, trace))) {
      return absl::AlreadyExistsError("output folder " + output_dir + " belongs to another run (it holds " + trace +
                                      "): remove it or choose another output_dir");
    }
  }
  HONE_RETURN_IF_ERROR(Annotate(CreateDirectories(output_dir), "output_dir"));
  const std::string probe = JoinPath(output_dir, ".hone-probe");
  HONE_RETURN_IF_ERROR(Annotate(WriteFileAtomic(probe, ""), "output_dir"));
  return RemoveTree(probe);
}

// "modified: stages[1].rl.steps: 80 -> 100", a few of them; "" where the two are equal.
std::string Differences(const v1::RunSpec& before, const v1::RunSpec& after) {
  constexpr size_t kShown = 5;
  std::string text;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&text);
  if (differencer.Compare(before, after)) return "";
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  const size_t more = lines.size() > kShown ? lines.size() - kShown : 0;
  lines.resize(lines.size() - more);
  std::string shown;
  for (const std::string& line : lines) shown += (shown.empty() ? "" : "; ") + line;
  return shown + (more > 0 ? "; and " + std::to_string(more) + " more" : "");
}

}  // namespace

absl::StatusOr<v1::Run> Coordinator::Describe(const std::string& name) {
  return Query([&](const Core& core, absl::Time now) -> absl::StatusOr<v1::Run> {
    HONE_ASSIGN_OR_RETURN(v1::Run run, core.DescribeRun(PlainName(name), now));
    std::string& hash = spec_hashes_[run.name()];
    if (hash.empty()) hash = CanonicalSpecHash(run.spec());
    run.set_spec_hash(hash);
    run.set_name(std::string(kRunPrefix) + run.name());
    return run;
  });
}

absl::StatusOr<v1::Run> Coordinator::GetRun(const std::string& name) { return Describe(name); }

absl::StatusOr<v1::ResolveRunResponse> Coordinator::ResolveRun(const v1::ResolveRunRequest& request) {
  v1::ResolveRunResponse response;
  HONE_ASSIGN_OR_RETURN(*response.mutable_spec(), ResolveRunSpec(request.spec()));
  response.set_spec_hash(CanonicalSpecHash(response.spec()));
  return response;
}

absl::StatusOr<v1::Run> Coordinator::CreateRun(const v1::CreateRunRequest& request) {
  v1::RunCreated created;
  HONE_ASSIGN_OR_RETURN(*created.mutable_spec(), ResolveRunSpec(request.spec()));
  if (created.spec().ByteSizeLong() > kMaxRequestBytes) return absl::InvalidArgumentError("spec: too large");
  created.set_run(created.spec().name());
  created.set_request_id(request.request_id());
  const std::string& output_dir = created.spec().output_dir();
  created.set_output_dir(
      PlainPath(output_dir.starts_with('/') ? output_dir : JoinPath(options_.working_directory, output_dir)));
  bool retry = false;
  {
    const std::lock_guard lock(mutex_);
    // The core tells a retry from a clash; only a new run is worth reading its data for.
    const RunState* other = core_->FindRun(created.run());
    const std::string known = core_->RunOfRequest(request.request_id());
    if (other != nullptr && known.empty()) {
      const std::string differences = Differences(other->spec(), created.spec());
      return absl::AlreadyExistsError(
          "a run named '" + created.run() + "' exists and is " + RunStateName(other->state()) +
          (differences.empty() ? ", with the same settings" : ", with other settings (" + differences + ")") +
          ": give this one another name");
    }
    retry = other != nullptr || !known.empty();
  }
  LoadedPrompts loaded;
  if (!retry) {
    HONE_ASSIGN_OR_RETURN(loaded, LoadPrompts(created.spec(), options_.working_directory));
    HONE_RETURN_IF_ERROR(PrepareOutputFolder(created.output_dir()));
    for (const auto& [path, hash] : loaded.source_sha256) (*created.mutable_source_sha256())[path] = hash;
  }
  HONE_RETURN_IF_ERROR(Execute([&](Core& core, absl::Time now) {
    bool existed = false;
    return core.CreateRun(created, std::move(loaded.sets), now, &existed);
  }));
  return Describe(created.run());
}

absl::StatusOr<v1::ListRunsResponse> Coordinator::ListRuns(const v1::ListRunsRequest& request) {
  HONE_ASSIGN_OR_RETURN(const auto token, ParseToken(request.page_token()));
  HONE_ASSIGN_OR_RETURN(
      const std::vector<std::string> names,
      Query([](const Core& core, absl::Time) -> absl::StatusOr<std::vector<std::string>> { return core.RunNames(); }));
  v1::ListRunsResponse response;
  const auto size = static_cast<size_t>(PageSize(request.page_size(), 50, 1000));
  size_t index = token.first < 0 ? 0 : static_cast<size_t>(token.first);
  for (; index < names.size() && static_cast<size_t>(response.runs_size()) < size; ++index) {
    HONE_ASSIGN_OR_RETURN(*response.add_runs(), Describe(names[index]));
  }
  if (index < names.size()) response.set_next_page_token(MakeToken(static_cast<int64_t>(index), 0));
  return response;
}

absl::Status Coordinator::WatchRun(const v1::WatchRunRequest& request, const Cancelled& cancelled,
                                   const std::function<bool(const v1::WatchRunResponse&)>& send) {
  const std::string name = PlainName(request.name());
  std::string last_sent;
  int64_t last_metrics = -1;
  while (!cancelled()) {
    int64_t seen = 0;
    int64_t journal_end = 0;
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return absl::UnavailableError("the coordinator is shutting down");
      seen = change_count_;
      journal_end = journal_->end();
    }
    v1::WatchRunResponse response;
    const bool caught_up = projected_ >= journal_end;
    HONE_ASSIGN_OR_RETURN(*response.mutable_run(), Describe(name));
    HONE_ASSIGN_OR_RETURN(const auto metrics, store_->ListMetrics(name, std::nullopt, last_metrics, 1000));
    for (const StoredMetrics& entry : metrics) {
      *response.add_new_metrics() = entry.metrics;
      last_metrics = entry.position;
    }
    // Time alone is not a change. (The spec never changes, and its maps have no order when serialized.)
    v1::Run comparable = response.run();
    comparable.clear_spec();
    comparable.clear_running_seconds();
    comparable.clear_latest_metrics();
    for (v1::StageProgress& stage : *comparable.mutable_stages()) stage.clear_latest_metrics();
    const std::string text = comparable.SerializeAsString();
    if (text != last_sent || response.new_metrics_size() > 0) {
      if (!send(response)) return absl::OkStatus();
      last_sent = text;
    }
    if (IsFinal(response.run().state()) && caught_up && metrics.empty()) return absl::OkStatus();
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(kWatchInterval), [&] { return closing_.load(); });
    changed_.wait_for(lock, std::chrono::seconds(1), [&] { return closing_.load() || change_count_ != seen; });
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Run> Coordinator::Control(const std::string& name,
                                             absl::Status (Core::*command)(const std::string&, absl::Time)) {
  const std::string plain = PlainName(name);
  HONE_RETURN_IF_ERROR(Execute([&](Core& core, absl::Time now) { return (core.*command)(plain, now); }));
  return Describe(plain);
}

absl::StatusOr<v1::Run> Coordinator::PauseRun(const std::string& name) { return Control(name, &Core::PauseRun); }
absl::StatusOr<v1::Run> Coordinator::StopRun(const std::string& name) { return Control(name, &Core::StopRun); }

absl::StatusOr<v1::Run> Coordinator::ResumeRun(const std::string& name) {
  const std::string plain = PlainName(name);
  // An ended run holds no prompts. One that comes to its end between the look and the command is looked at again.
  for (;;) {
    v1::RunState seen = v1::RUN_STATE_UNSPECIFIED;
    {
      const std::lock_guard lock(mutex_);
      if (const RunState* run = core_->FindRun(plain); run != nullptr) seen = run->state();
    }
    if (IsFinal(seen) && seen != v1::RUN_STATE_SUCCEEDED) HONE_RETURN_IF_ERROR(LoadPromptsOf(plain));
    bool changed = false;
    const absl::Status resumed = Execute([&](Core& core, absl::Time now) {
      const RunState* run = core.FindRun(plain);
      changed = run != nullptr && IsFinal(run->state()) && !IsFinal(seen);
      return changed ? absl::OkStatus() : core.ResumeRun(plain, now);
    });
    HONE_RETURN_IF_ERROR(resumed);
    if (!changed) return Describe(plain);
  }
}

absl::StatusOr<v1::ListSamplesResponse> Coordinator::ListSamples(const v1::ListSamplesRequest& request) {
  HONE_RETURN_IF_ERROR(Describe(request.name()).status());
  HONE_ASSIGN_OR_RETURN(const auto token, ParseToken(request.page_token()));
  GroupQuery query;
  query.run = PlainName(request.name());
  if (request.has_stage()) query.stage = request.stage();
  if (request.has_step()) query.step = request.step();
  query.purpose = request.purpose();
  query.before = token.first;
  const int32_t size = PageSize(request.page_size(), 20, 1000);
  query.limit = size + 1;  // every group listed has a sample: one more tells whether another page follows
  int64_t skip = token.second;
  HONE_ASSIGN_OR_RETURN(const std::vector<int64_t> positions, store_->ListGroups(query));
  v1::ListSamplesResponse response;
  // Long completions fill a message before their number fills a page.
  constexpr size_t kPageBytes = kMaxMessageBytes / 4;
  size_t bytes = 0;
  const auto is_full = [&] { return response.samples_size() == size || bytes >= kPageBytes; };
  for (const int64_t position : positions) {
    if (is_full()) {
      response.set_next_page_token(MakeToken(position + 1, 0));
      return response;
    }
    HONE_ASSIGN_OR_RETURN(const std::string payload, journal_->Read(position));
    v1::JournalRecord record;
    if (!record.ParseFromString(payload) || !record.has_group_recorded()) {
      return absl::DataLossError("journal position " + std::to_string(position) +
                                 ": not a group, as the database says");
    }
    const v1::GroupRecorded& recorded = record.group_recorded();
    for (int64_t i = skip; i < recorded.group().trajectories_size(); ++i) {
      if (is_full()) {
        response.set_next_page_token(MakeToken(position + 1, i));
        return response;
      }
      v1::Sample& sample = *response.add_samples();
      sample.set_stage(recorded.stage());
      sample.set_step(recorded.step());
      sample.set_purpose(recorded.purpose());
      sample.set_prompt(recorded.group().prompt_text());
      sample.set_answer(recorded.group().answer());
      sample.set_group_id(recorded.group().group_id());
      sample.set_prompt_id(recorded.group().prompt_id());
      *sample.mutable_trajectory() = recorded.group().trajectories(static_cast<int>(i));
      bytes += sample.ByteSizeLong();
    }
    skip = 0;
  }
  return response;
}

absl::StatusOr<v1::ListMetricsResponse> Coordinator::ListMetrics(const v1::ListMetricsRequest& request) {
  HONE_RETURN_IF_ERROR(Describe(request.name()).status());
  HONE_ASSIGN_OR_RETURN(const auto token, ParseToken(request.page_token()));
  const int32_t size = PageSize(request.page_size(), 1000, 10000);
  HONE_ASSIGN_OR_RETURN(
      const auto metrics,
      store_->ListMetrics(PlainName(request.name()),
                          request.has_stage() ? std::optional<std::string>(request.stage()) : std::nullopt, token.first,
                          size + 1));
  v1::ListMetricsResponse response;
  for (int32_t i = 0; i < static_cast<int32_t>(metrics.size()) && i < size; ++i) {
    *response.add_metrics() = metrics[static_cast<size_t>(i)].metrics;
  }
  if (static_cast<int32_t>(metrics.size()) > size) {
    response.set_next_page_token(MakeToken(metrics[static_cast<size_t>(size) - 1].position, 0));
  }
  return response;
}

absl::StatusOr<v1::ListMembersResponse> Coordinator::ListMembers() {
  v1::ListMembersResponse response;
  const std::lock_guard lock(mutex_);
  for (v1::Member& member : core_->DescribeMembers(Now())) *response.add_members() = std::move(member);
  return response;
}

}  // namespace hone::coordinator
