#include "coordinator/core/transcript.h"

#include <cstdio>
#include <sstream>

#include "base/check.h"

namespace hone::coordinator {
namespace {

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

std::string Hash(const std::string& letter) {
  std::string hash;
  for (int i = 0; i < 64; ++i) hash += letter;
  return hash;
}

std::string ShortHash(const std::string& hash) { return hash.empty() ? "-" : hash.substr(0, 1); }

std::string Enum(const std::string& name, const std::string& prefix) { return name.substr(prefix.size()); }

std::string DescribeMetrics(const google::protobuf::Map<std::string, double>& metrics) {
  const std::map<std::string, double> sorted(metrics.begin(), metrics.end());
  std::string text;
  for (const auto& [name, value] : sorted) text += " " + name + "=" + Number(value);
  return text;
}

std::string DescribeRecord(const v1::JournalRecord& record) {
  switch (record.event_case()) {
    case v1::JournalRecord::kRunCreated:
      return "run created: " + record.run_created().run();
    case v1::JournalRecord::kRunStateChanged: {
      const auto& e = record.run_state_changed();
      return "run " + e.run() + " is " + Enum(v1::RunState_Name(e.state()), "RUN_STATE_") +
             (e.error().empty() ? "" : ": " + e.error());
    }
    case v1::JournalRecord::kLearnerEpochStarted:
      return "learner epoch " + std::to_string(record.learner_epoch_started().epoch());
    case v1::JournalRecord::kVersionPublished: {
      const auto& e = record.version_published();
      return "version " + std::to_string(e.version().number()) + " (parent " + std::to_string(e.version().parent()) +
             ", epoch " + std::to_string(e.version().learner_epoch()) + ", hash " + ShortHash(e.version().root_hash()) +
             ") after step " + std::to_string(e.step()) + " of " + e.stage();
    }
    case v1::JournalRecord::kGroupRecorded: {
      const auto& e = record.group_recorded();
      return "group of " + e.stage() + " " + (e.purpose() == v1::GROUP_PURPOSE_TRAIN ? "train" : "evaluate") +
             " step " + std::to_string(e.step()) + " slot " + std::to_string(e.slot()) + " prompt " +
             e.group().prompt_id() + " attempt " + std::to_string(e.group().attempt()) +
             (e.group().state() == v1::GROUP_STATE_DROPPED ? " DROPPED: " + e.group().drop_reason() : "");
    }
    case v1::JournalRecord::kStepRecorded:
      return "step " + std::to_string(record.step_recorded().step()) + " of " + record.step_recorded().stage() +
             " at " + Number(record.step_recorded().running_seconds()) +
             "s:" + DescribeMetrics(record.step_recorded().metrics());
    case v1::JournalRecord::kCheckpointRecorded:
      return "checkpoint " + record.checkpoint_recorded().path() + " hash " +
             ShortHash(record.checkpoint_recorded().root_hash());
    case v1::JournalRecord::kStageFinished: {
      const auto& e = record.stage_finished();
      return "stage " + e.stage() + " finished after " + std::to_string(e.steps()) + " steps with " +
             (e.path().empty() ? "nothing" : e.path()) + " hash " + ShortHash(e.root_hash());
    }
    case v1::JournalRecord::kEvaluationRecorded: {
      const auto& e = record.evaluation_recorded();
      return "evaluation of " + e.stage() + " step " + std::to_string(e.step()) + " version " +
             std::to_string(e.version()) + ":" + DescribeMetrics(e.metrics());
    }
    case v1::JournalRecord::EVENT_NOT_SET:
      break;
  }
  return "?";
}

std::string DescribeRunState(const v1::Run& run) {
  std::string text =
      run.name() + " " + Enum(v1::RunState_Name(run.state()), "RUN_STATE_") + " " + Number(run.running_seconds()) + "s";
  for (const v1::StageProgress& stage : run.stages()) {
    text += " | " + stage.name() + " " + std::to_string(stage.steps_done()) + "/" +
            std::to_string(stage.steps_total()) + (stage.finished() ? " finished" : "");
    if (stage.evaluation_prompts() > 0) {
      text +=
          " evaluated " + std::to_string(stage.evaluated_prompts()) + "/" + std::to_string(stage.evaluation_prompts());
    }
    if (!stage.checkpoints().empty()) text += ", kept";
    for (const v1::Checkpoint& checkpoint : stage.checkpoints()) text += " " + std::to_string(checkpoint.step());
    if (!stage.result_path().empty()) text += ", result " + stage.result_path();
  }
  return text + (run.error().empty() ? "" : " | error: " + run.error()) + "\n";
}

std::string DescribeStatus(const absl::Status& status) {
  return status.ok() ? "OK\n" : absl::StatusCodeToString(status.code()) + ": " + std::string(status.message()) + "\n";
}

std::shared_ptr<const PromptSet> NumberedPrompts(int rows, int prompt_mib = 0) {
  auto set = std::make_shared<PromptSet>();
  set->sources.resize(1);
  for (int i = 0; i < rows; ++i) {
    v1::PromptRecord row;
    row.set_id(std::to_string(i));
    row.set_prompt("question " + row.id() + std::string(static_cast<size_t>(prompt_mib) << 20, '?'));
    row.set_answer(row.id());
    set->sources[0].rows.push_back(row);
  }
  return set;
}

}  // namespace

struct Transcript::Arguments {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  std::string Text(const std::string& name, const std::string& otherwise) const {
    const auto it = options.find(name);
    return it == options.end() ? otherwise : it->second;
  }
  int Int(const std::string& name, int otherwise) const { return std::stoi(Text(name, std::to_string(otherwise))); }
  bool Has(const std::string& name) const { return options.contains(name); }
};

Transcript::Transcript() { core_ = NewCore(); }

std::unique_ptr<Core> Transcript::NewCore() {
  CoreOptions options;
  options.incarnation = "life" + std::to_string(++lives_);
  return std::make_unique<Core>(options, [this](const v1::JournalRecord& record) {
    journal_.push_back(record);
    const auto n = static_cast<int64_t>(journal_.size());
    return RecordSpan{n - 1, n};
  });
}

std::string Transcript::Run(const std::string& line) {
  std::istringstream stream(line);
  std::string command;
  stream >> command;
  Arguments arguments;
  std::string word;
  while (stream >> word) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      arguments.words.push_back(word);
      continue;
    }
    const std::string key = word.substr(0, equals);
    std::string value = word.substr(equals + 1);
    if (!value.empty() && value.front() == '"') {
      while (value.size() < 2 || value.back() != '"') {
        HONE_CHECK(stream >> word) << "open quote in: " << line;
        value += " " + word;
      }
      value = value.substr(1, value.size() - 2);
    }
    arguments.options[key] = value;
  }
  const std::string answer = Dispatch(command, arguments);
  std::string output;
  for (; shown_ < journal_.size(); ++shown_) output += "  + " + DescribeRecord(journal_[shown_]) + "\n";
  return output + answer;
}

std::string Transcript::Dispatch(const std::string& command, const Arguments& arguments) {
  if (command == "create") return Create(arguments);
  if (command == "register") return Register(arguments);
  if (command == "lease") return Lease(arguments);
  if (command == "submit") return Submit(arguments);
  if (command == "decline") return Decline(arguments);
  if (command == "members") return Members();
  if (command == "heartbeat") {
    v1::HeartbeatRequest request;
    request.set_member_id(sessions_[arguments.words.at(0)].id);
    return DescribeStatus(core_->Heartbeat(request, now_));
  }
  if (command == "wait") {
    now_ += absl::Seconds(std::stod(arguments.words.at(0)));
    core_->Tick(now_);
    return core_->Obstacle().empty() ? "" : core_->Obstacle() + "\n";
  }
  if (command == "restart") {
    now_ += absl::Seconds(arguments.Int("after", 0));
    core_ = NewCore();
    for (size_t i = 0; i < journal_.size(); ++i) {
      HONE_CHECK_OK(core_->Apply(journal_[i], {static_cast<int64_t>(i), static_cast<int64_t>(i) + 1}));
    }
    for (const std::string& run : core_->RunsThatNeedPrompts()) core_->SetPrompts(run, prompts_[run]);
    core_->Recover(now_);
    return "";
  }
  if (command == "pause" || command == "resume" || command == "stop" || command == "status") {
    return Control(command, arguments.words.at(0));
  }
  return Learner(command, arguments);
}

std::string Transcript::Create(const Arguments& arguments) {
  v1::RunCreated request;
  request.set_run(arguments.words.at(0));
  request.set_request_id(arguments.Text("request", ""));
  request.set_output_dir(arguments.Text("output", "/runs/" + request.run()));
  v1::RunSpec& spec = *request.mutable_spec();
  spec.set_name(request.run());
  spec.set_seed(static_cast<uint64_t>(arguments.Int("seed", 0)));
  spec.mutable_model()->set_path("base");
  spec.mutable_checkpoints()->set_every_steps(arguments.Int("every_steps", 20));
  spec.mutable_checkpoints()->set_keep_last(arguments.Int("keep_last", 2));
  if (arguments.Has("budget")) spec.mutable_budget()->mutable_max_time()->set_seconds(arguments.Int("budget", 0));
  v1::EvaluationSpec evaluation;
  evaluation.set_dataset("held_out");
  evaluation.set_samples(arguments.Int("eval_samples", 1));
  evaluation.add_rewards()->mutable_accuracy();
  std::istringstream stages(arguments.Text("stages", "zero:rl:2"));
  std::string text;
  std::string previous;
  while (stages >> text) {
    const size_t first = text.find(':');
    const size_t second = text.find(':', first + 1);
    const std::string kind = text.substr(first + 1, second == std::string::npos ? second : second - first - 1);
    const int steps = second == std::string::npos ? 0 : std::stoi(text.substr(second + 1));
    v1::StageSpec& stage = *spec.add_stages();
    stage.set_name(text.substr(0, first));
    if (!previous.empty()) stage.set_from(previous);
    if (previous.empty() && arguments.Has("from")) stage.set_from_checkpoint(arguments.Text("from", ""));
    if (kind == "evaluate") {
      *stage.mutable_evaluate()->mutable_evaluation() = evaluation;
      continue;
    }
    if (kind == "export") {
      stage.mutable_export_();
      continue;
    }
    previous = stage.name();
    v1::PeriodicEvalSpec periodic;
    *periodic.mutable_evaluation() = evaluation;
    periodic.set_every_steps(arguments.Int("eval_every", 0));
    periodic.set_at_start(arguments.Int("at_start", 1) != 0);
    periodic.set_at_end(arguments.Int("at_end", 1) != 0);
    periodic.set_keep_best(arguments.Int("keep_best", 0) != 0);
    const bool pauses = arguments.Text("on_non_finite", "") == "pause";
    if (kind == "rl") {
      v1::RlStage& rl = *stage.mutable_rl();
      rl.set_dataset("train");
      rl.set_steps(steps);
      rl.set_prompts_per_step(arguments.Int("prompts", 2));
      rl.set_group_size(arguments.Int("group", 2));
      rl.add_rewards()->mutable_accuracy();
      if (arguments.Text("overlong", "") == "fail") rl.set_overlong(v1::OVERLONG_POLICY_FAIL);
      if (arguments.Text("mode", "") == "one_step_off") rl.set_mode(v1::RL_MODE_ONE_STEP_OFF);
      if (pauses) rl.mutable_optimizer()->set_on_non_finite(v1::NON_FINITE_POLICY_PAUSE);
      rl.mutable_algorithm()->set_reference_refresh_steps(arguments.Int("refresh", 0));
      if (arguments.Has("waves")) {
        v1::DynamicSamplingSpec& sampling = *rl.mutable_algorithm()->mutable_dynamic_sampling();
        sampling.set_max_waves(arguments.Int("waves", 4));
        if (arguments.Text("fallback", "") == "fail") sampling.set_fallback(v1::DYNAMIC_SAMPLING_FALLBACK_FAIL);
      }
      if (arguments.Has("eval_rows")) *rl.mutable_evaluate() = periodic;
    } else {
      v1::SftStage& sft = kind == "pretrain" ? *stage.mutable_pretrain() : *stage.mutable_sft();
      sft.set_steps(steps);
      if (pauses) sft.mutable_optimizer()->set_on_non_finite(v1::NON_FINITE_POLICY_PAUSE);
      if (arguments.Has("eval_rows")) *sft.mutable_evaluate() = periodic;
    }
  }
  PromptSets& sets = prompts_[request.run()];
  sets["train"] = NumberedPrompts(arguments.Int("rows", 5), arguments.Int("prompt_mib", 0));
  sets["held_out"] = NumberedPrompts(arguments.Int("eval_rows", 1));
  bool existed = false;
  const absl::Status status = core_->CreateRun(request, sets, now_, &existed);
  return (existed ? "existed " : "") + DescribeStatus(status);
}

std::string Transcript::Register(const Arguments& arguments) {
  v1::RegisterRequest request;
  const std::string& role = arguments.words.at(0);
  const std::string& name = arguments.words.at(1);
  request.set_role(role == "worker"    ? v1::MEMBER_ROLE_ROLLOUT_WORKER
                   : role == "learner" ? v1::MEMBER_ROLE_LEARNER
                                       : v1::MEMBER_ROLE_REWARD_SERVER);
  request.set_name(name);
  request.set_address(name + ":1");
  std::istringstream keys(arguments.Text("keys", ""));
  std::string key;
  while (std::getline(keys, key, ',')) request.add_numerics_keys(key);
  const auto response = core_->Register(request, now_);
  if (!response.ok()) return DescribeStatus(response.status());
  sessions_[name] = {response->member_id(), response->learner_epoch(), {}};
  return response->member_id() + "\n";
}

std::string Transcript::Lease(const Arguments& arguments) {
  const std::string& name = arguments.words.at(0);
  v1::LeaseGroupsRequest request;
  request.set_member_id(sessions_[name].id);
  request.set_max_groups(arguments.Int("max", 100));
  std::istringstream holding(arguments.Text("holding", ""));
  std::string alias;
  while (std::getline(holding, alias, ',')) request.add_holding(leased_.at(alias).task.group_id());
  const auto response = core_->LeaseGroups(request, false, now_);
  if (!response.ok()) return DescribeStatus(response.status());
  if (response->tasks().empty()) return "nothing to do\n";
  std::string output;
  for (const v1::GroupTask& task : response->tasks()) {
    for (const v1::TaskContext& context : response->contexts()) {
      if (context.context_id() != task.context_id()) continue;
      alias = (context.purpose() == v1::GROUP_PURPOSE_TRAIN ? "t:" : "e:") + task.prompt().id();
      leased_[alias] = {task, context};
      output += alias + " attempt " + std::to_string(task.attempt()) + " version " +
                std::to_string(context.version().number()) + " from " + context.weights_address() + "\n";
    }
  }
  return output;
}

std::string Transcript::Submit(const Arguments& arguments) {
  const auto known = leased_.find(arguments.words.at(1));
  if (known == leased_.end()) return arguments.words.at(1) + " was never leased\n";
  const LeasedTask& leased = known->second;
  v1::SubmitGroupRequest request;
  request.set_member_id(sessions_[arguments.words.at(0)].id);
  request.set_context_id(leased.context.context_id());
  v1::Group& group = *request.mutable_group();
  group.set_run(leased.context.run());
  group.set_stage(leased.context.stage());
  group.set_group_id(leased.task.group_id());
  group.set_attempt(arguments.Int("attempt", leased.task.attempt()));
  group.set_prompt_id(leased.task.prompt().id());
  group.set_worker(arguments.words.at(0));
  group.add_prompt_tokens(1);
  group.set_state(v1::GROUP_STATE_COMPLETE);
  if (arguments.Has("drop")) {
    group.set_state(v1::GROUP_STATE_DROPPED);
    group.set_drop_reason(arguments.Text("drop", ""));
  }
  const int samples = arguments.Has("drop") ? 0 : arguments.Int("samples", leased.context.group_size());
  for (int i = 0; i < samples; ++i) {
    v1::Trajectory& trajectory = *group.add_trajectories();
    trajectory.set_sample_index(i);
    trajectory.set_numerics_key(arguments.Text("key", ""));
    trajectory.add_tokens(7);
    trajectory.add_rollout_logprobs(std::stof(arguments.Text("logprob", "-0.5")));
    trajectory.set_text(std::string(static_cast<size_t>(arguments.Int("text_mib", 0)) << 20, 'x'));
    v1::SourceRun& source = *trajectory.add_sources();
    source.set_source(v1::TOKEN_SOURCE_SAMPLED);
    source.set_count(1);
    v1::VersionSegment& segment = *trajectory.add_segments();
    segment.set_version(leased.context.version().number());
    segment.set_root_hash(arguments.Has("hash") ? Hash(arguments.Text("hash", ""))
                                                : leased.context.version().root_hash());
    segment.set_count(1);
    trajectory.set_finish_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
    v1::Verdict& verdict = *trajectory.mutable_verdict();
    v1::RewardComponent& component = *verdict.add_components();
    component.set_name("accuracy");
    component.set_weight(1);
    std::string accuracy = arguments.Text("accuracy", "1");
    if (accuracy == "mixed") accuracy = i == 0 ? "1" : "0";
    const bool scorable = accuracy != "unscorable";
    component.set_state(scorable ? v1::REWARD_STATE_SCORED : v1::REWARD_STATE_UNSCORABLE);
    component.set_reason(arguments.Text("reason", ""));
    verdict.set_state(component.state());
    if (scorable) component.set_value(std::stod(accuracy));
    verdict.set_reward(component.value());
  }
  const auto response = core_->SubmitGroup(request, now_);
  if (!response.ok()) return DescribeStatus(response.status());
  return response->accepted() ? "accepted\n" : "refused: " + response->reason() + "\n";
}

std::string Transcript::Decline(const Arguments& arguments) {
  v1::DeclineGroupRequest request;
  request.set_member_id(sessions_[arguments.words.at(0)].id);
  request.set_group_id(leased_.at(arguments.words.at(1)).task.group_id());
  request.set_reason(arguments.Text("reason", ""));
  return DescribeStatus(core_->DeclineGroup(request, now_));
}

std::string Transcript::NextWork(Session* session) {
  v1::NextWorkRequest request;
  session->Fill(&request);
  const auto response = core_->NextWork(request, now_);
  if (!response.ok()) return DescribeStatus(response.status());
  if (!response->has_work()) return "nothing to do\n";
  session->work = response->work();
  const v1::LearnerWork& work = session->work;
  const v1::WeightsOrigin& start = work.start();
  return Enum(v1::WorkKind_Name(work.kind()), "WORK_KIND_") + " " + work.work_id() + " from " +
         (start.checkpoint_path().empty() ? "model " + start.model_path() : start.checkpoint_path()) +
         ", first version " + std::to_string(work.first_version()) + " parent " +
         std::to_string(work.parent_version()) +
         (work.has_resume_checkpoint()
              ? ", resume " + work.resume_checkpoint() + " after step " + std::to_string(work.resume_step())
              : "") +
         (work.has_finish_step() ? ", finish at step " + std::to_string(work.finish_step()) : "") + "\n";
}

std::string Transcript::Fetch(const Session& session, int step) {
  v1::FetchBatchRequest request;
  session.Fill(&request);
  request.set_run(session.work.run());
  request.set_stage(session.Stage());
  request.set_step(step);
  const auto answer = core_->FetchBatch(request, now_);
  if (!answer.ok()) return DescribeStatus(answer.status());
  std::string prompts;
  for (const int64_t position : answer->positions) {
    prompts += " " + journal_[static_cast<size_t>(position)].group_recorded().group().prompt_id();
  }
  return Enum(v1::Directive_Name(answer->directive), "DIRECTIVE_") + (prompts.empty() ? "" : ": prompts" + prompts) +
         "\n";
}

std::string Transcript::Checkpoint(const Session& session, const Arguments& arguments) {
  v1::ReportCheckpointRequest request;
  session.Fill(&request);
  request.set_run(session.work.run());
  request.set_stage(session.Stage());
  request.set_step(arguments.Int("step", 0));
  request.set_path("/runs/" + session.Stage() + "/step-" + std::to_string(request.step()));
  request.set_root_hash(Hash(arguments.Text("hash", "a")));
  const auto response = core_->ReportCheckpoint(request, now_);
  if (!response.ok()) return DescribeStatus(response.status());
  std::string output = "OK\n";
  for (const std::string& obsolete : response->obsolete_paths()) output += "obsolete " + obsolete + "\n";
  return output;
}

std::string Transcript::Finish(const Session& session, const Arguments& arguments) {
  v1::FinishWorkRequest request;
  session.Fill(&request);
  const std::string outcome = arguments.Text("outcome", "done");
  request.set_work_id(session.work.work_id());
  request.set_outcome(outcome == "done"      ? v1::WORK_OUTCOME_DONE
                      : outcome == "stopped" ? v1::WORK_OUTCOME_STOPPED
                                             : v1::WORK_OUTCOME_FAILED);
  request.set_error(arguments.Text("error", ""));
  request.set_steps(arguments.Int("steps", 0));
  request.set_path(arguments.Text("path", "/runs/" + session.Stage() + "/step-" + std::to_string(request.steps())));
  request.set_root_hash(Hash(arguments.Text("hash", "a")));
  return DescribeStatus(core_->FinishWork(request, now_));
}

std::string Transcript::Learner(const std::string& command, const Arguments& arguments) {
  Session& session = sessions_[arguments.words.at(0)];
  const int step = arguments.Int("step", 0);
  const auto directive = [](const absl::StatusOr<v1::Directive>& answer) {
    if (!answer.ok()) return DescribeStatus(answer.status());
    return Enum(v1::Directive_Name(*answer), "DIRECTIVE_") + "\n";
  };
  if (command == "next-work") return NextWork(&session);
  if (command == "fetch") return Fetch(session, step);
  if (command == "checkpoint") return Checkpoint(session, arguments);
  if (command == "finish") return Finish(session, arguments);
  if (command == "publish") {
    v1::PublishVersionRequest request;
    session.Fill(&request);
    request.set_run(session.work.run());
    request.set_stage(session.Stage());
    request.set_step(step);
    request.mutable_version()->set_number(
        arguments.Int("number", static_cast<int>(session.work.first_version()) + step));
    request.mutable_version()->set_root_hash(Hash(arguments.Text("hash", "a")));
    const auto response = core_->PublishVersion(request, now_);
    if (!response.ok()) return DescribeStatus(response.status());
    return response->evaluation_due() ? "evaluation due\n" : "OK\n";
  }
  if (command == "await") {
    v1::AwaitReleaseRequest request;
    session.Fill(&request);
    request.set_run(session.work.run());
    request.set_version(arguments.Int("version", 0));
    return directive(core_->AwaitRelease(request, now_));
  }
  HONE_CHECK(command == "report") << "unknown command " << command;
  v1::ReportStepRequest request;
  session.Fill(&request);
  request.set_run(session.work.run());
  request.set_stage(session.Stage());
  request.set_step(step);
  request.set_steps_total(arguments.Int("total", 0));
  if (const int skipped = arguments.Int("skipped", 0); skipped > 0) {
    (*request.mutable_metrics())["actor/skipped_updates"] = skipped;
  }
  return directive(core_->ReportStep(request, now_));
}

std::string Transcript::Control(const std::string& command, const std::string& run) {
  absl::Status status;
  if (command == "pause") status = core_->PauseRun(run, now_);
  if (command == "stop") status = core_->StopRun(run, now_);
  if (command == "resume") {
    if (core_->FindRun(run) != nullptr && core_->FindRun(run)->HasEnded()) core_->SetPrompts(run, prompts_[run]);
    status = core_->ResumeRun(run, now_);
  }
  if (command == "status") {
    const auto description = core_->DescribeRun(run, now_);
    return description.ok() ? DescribeRunState(*description) : DescribeStatus(description.status());
  }
  return DescribeStatus(status);
}

std::string Transcript::Members() const {
  std::string output;
  for (const v1::Member& member : core_->DescribeMembers(now_)) {
    output += member.role() + " " + member.member_id() + ", silent for " + Number(member.seconds_since_heartbeat()) +
              "s, holds " + std::to_string(member.leased_groups()) + "\n";
  }
  return output.empty() ? "nobody\n" : output;
}

std::string Transcript::DescribePresent() const {
  std::string text;
  for (const std::string& run : core_->RunNames()) text += DescribeRunState(*core_->DescribeRun(run, now_));
  return text;
}

std::string Transcript::DescribeRebuilt() const {
  Core rebuilt({}, [](const v1::JournalRecord&) { return RecordSpan(); });
  for (size_t i = 0; i < journal_.size(); ++i) {
    HONE_CHECK_OK(rebuilt.Apply(journal_[i], {static_cast<int64_t>(i), static_cast<int64_t>(i) + 1}));
  }
  std::string text;
  for (const std::string& run : rebuilt.RunNames()) text += DescribeRunState(*rebuilt.DescribeRun(run, now_));
  return text;
}

}  // namespace hone::coordinator
