#include "learner/work_session.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/sha256.h"
#include "weight_sync/weight_snapshot.h"

namespace hone::learner {
namespace {

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

}  // namespace

std::string SpecHash(const v1::RunSpec& spec) {
  v1::RunSpec hashed = spec;
  hashed.clear_budget();  // decides when a run ends, not what a step does
  hashed.clear_output_dir();
  // Folders may be moved between two sittings; the names of what is in them say what it is.
  const auto keep_name = [](std::string* path) { path->erase(0, path->rfind('/') + 1); };
  keep_name(hashed.mutable_model()->mutable_path());
  for (auto& [name, dataset] : *hashed.mutable_datasets()) {
    for (v1::SourceSpec& source : *dataset.mutable_sources()) keep_name(source.mutable_path());
  }
  for (v1::StageSpec& stage : *hashed.mutable_stages()) {
    if (stage.has_from_checkpoint()) keep_name(stage.mutable_from_checkpoint());
    if (stage.has_export_()) keep_name(stage.mutable_export_()->mutable_path());
  }
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream output(&bytes);
    google::protobuf::io::CodedOutputStream coded(&output);
    coded.SetSerializationDeterministic(true);  // maps in key order
    HONE_CHECK(hashed.SerializeToCodedStream(&coded));
  }
  return Sha256Hex(bytes);
}

bool CheckpointDue(const v1::RunSpec& spec, int32_t step) {
  const int32_t every = spec.checkpoints().has_every_steps() ? spec.checkpoints().every_steps() : 20;
  return every > 0 && step % every == 0;
}

WorkSession::WorkSession(const LearnerServices& services, const v1::LearnerWork& work)
    : services_(services),
      work_(work),
      spec_hash_(SpecHash(work.spec())),
      lag_(stage().rl().mode() == v1::RL_MODE_ONE_STEP_OFF ? 1 : 0) {
  services_.client->set_while_waiting([this] { return TakeUpCheckpoint(); });
}

WorkSession::~WorkSession() { services_.client->set_while_waiting(nullptr); }

kernels::DType WorkSession::dtype() const {
  return work_.spec().numerics().dtype() == v1::DTYPE_BF16 ? kernels::DType::kBf16 : kernels::DType::kF32;
}

std::string WorkSession::CheckpointFolder() const {
  return JoinPath(JoinPath(work_.output_dir(), "checkpoints"), stage().name());
}

absl::StatusOr<Checkpoint> WorkSession::LoadOwn(const std::string& path, int32_t step, CheckpointParts parts) const {
  HONE_ASSIGN_OR_RETURN(Checkpoint checkpoint, LoadCheckpoint(path, parts));
  const CheckpointState& state = checkpoint.state;
  if (state.run == work_.run() && state.stage == stage().name() && state.step == step &&
      state.spec_hash == spec_hash_) {
    return checkpoint;
  }
  return absl::FailedPreconditionError(absl::StrCat("checkpoint ", path, ": expected run '", work_.run(), "', stage '",
                                                    stage().name(), "', step ", step, ", spec ", spec_hash_,
                                                    "; it is of run '", state.run, "', stage '", state.stage,
                                                    "', step ", state.step, ", spec ", state.spec_hash));
}

absl::StatusOr<LoadedModel> WorkSession::LoadEarlier(int32_t step) const {
  HONE_ASSIGN_OR_RETURN(Checkpoint checkpoint,
                        LoadOwn(JoinPath(CheckpointFolder(), CheckpointName(step)), step, CheckpointParts::kWeights));
  return std::move(checkpoint.model);
}

absl::Status WorkSession::Load() {
  if (!work_.has_resume_checkpoint()) {
    HONE_ASSIGN_OR_RETURN(loaded_.model, LoadOrigin(work_.start(), work_.spec().seed()));
    return absl::OkStatus();
  }
  const std::string& path = work_.resume_checkpoint();
  HONE_ASSIGN_OR_RETURN(loaded_, LoadOwn(path, work_.resume_step(), CheckpointParts::kAll));
  const CheckpointState& state = loaded_.state;
  if (!loaded_.has_moments) {
    return absl::DataLossError(absl::StrCat("checkpoint ", path, ": it holds no optimizer state to resume from"));
  }
  resume_step_ = checkpoint_step_ = hashed_step_ = state.step;
  checkpoint_path_ = path;
  checkpoint_hash_ = root_hash_ = state.root_hash;
  journal_position_ = state.journal_position;
  inputs_ = earlier_inputs_ = state.inputs;
  HONE_INFO << "resumed from " << path << " at step " << state.step;
  return absl::OkStatus();
}

absl::Status WorkSession::NoteInput(const std::string& name, const std::string& sha256) {
  inputs_[name] = sha256;
  const auto earlier = earlier_inputs_.find(name);
  if (earlier == earlier_inputs_.end() || earlier->second == sha256) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(name, " has changed since checkpoint ", checkpoint_path_,
                                                    " was written: its SHA-256 is ", sha256, ", was ", earlier->second,
                                                    ". Restore it, or begin a new run"));
}

std::unique_ptr<Policy> WorkSession::TakePolicy(const PolicyOptions& options) {
  auto policy = std::make_unique<Policy>(*services_.kernels, std::move(loaded_.model), options);
  if (loaded_.has_moments) {
    policy->RestoreOptimizer(std::move(loaded_.first_moment), std::move(loaded_.second_moment),
                             loaded_.state.optimizer_updates, loaded_.state.optimizer_skipped);
  }
  return policy;
}

std::string WorkSession::RootHashOf(const model::ModelConfig& config, const model::FlatTensor& masters, int32_t step) {
  if (hashed_step_ != step) {
    root_hash_ = model::RootHash(config, masters);
    hashed_step_ = step;
  }
  return root_hash_;
}

absl::StatusOr<bool> WorkSession::Publish(const kernels::KernelContext& context, const model::ModelConfig& config,
                                          const model::FlatTensor& masters, const ModelFiles& files, int32_t step) {
  const absl::Time start = absl::Now();
  WeightVersion weights = {.run = work_.run(),
                           .number = version(step),
                           .parent = step == 0 ? work_.parent_version() : version(step) - 1,
                           .learner_epoch = services_.client->epoch()};
  // In fp32 the snapshot's content hash is the root hash: no second pass over the weights.
  if (dtype() != kernels::DType::kF32) weights.root_hash = RootHashOf(config, masters, step);
  const auto snapshot = MakeSnapshot(context, config, masters, dtype(), std::move(weights), files);
  root_hash_ = snapshot->version().root_hash;
  hashed_step_ = step;
  auto evaluation_due = Announce(snapshot, step);
  publish_seconds_ += SecondsSince(start);
  return evaluation_due;
}

absl::StatusOr<bool> WorkSession::Announce(std::shared_ptr<const WeightSnapshot> snapshot, int32_t step) {
  services_.weights->Publish(snapshot, 1 + lag_);
  v1::PolicyVersion proto;
  proto.set_number(snapshot->version().number);
  proto.set_parent(snapshot->version().parent);
  proto.set_learner_epoch(snapshot->version().learner_epoch);
  proto.set_root_hash(snapshot->version().root_hash);
  if (lag_ > 0) {
    // The same again: the stage ends with a step that was published already.
    if (!published_.empty() && published_.back()->version().number == snapshot->version().number) published_.pop_back();
    published_.push_back(std::move(snapshot));
    if (std::ssize(published_) > 1 + lag_) published_.erase(published_.begin());
  }
  return services_.client->PublishVersion(work_, proto, step);
}

std::shared_ptr<const WeightSnapshot> WorkSession::SnapshotBefore(int32_t step) const {
  for (const auto& snapshot : published_) {
    if (snapshot->version().number == version(step - 1)) return snapshot;
  }
  return nullptr;
}

absl::Status WorkSession::PublishPrevious(const Policy& policy) {
  if (lag_ == 0 || resume_step_ == 0) return absl::OkStatus();
  const int32_t step = resume_step_ - 1;
  if (loaded_.previous.empty()) {
    return absl::DataLossError(absl::StrCat("checkpoint ", checkpoint_path_, ": it lacks the weights of step ", step,
                                            ", which sample step ", resume_step_ + 1));
  }
  WeightVersion weights = {.run = work_.run(),
                           .number = version(step),
                           .parent = step == 0 ? work_.parent_version() : version(step) - 1,
                           .learner_epoch = services_.client->epoch(),
                           .root_hash = loaded_.state.previous_root_hash};
  auto snapshot =
      MakeSnapshot(kernels(), policy.config(), loaded_.previous, dtype(), std::move(weights), policy.files());
  loaded_.previous = model::FlatTensor();
  return Announce(std::move(snapshot), step).status();
}

absl::Status WorkSession::WriteCheckpoint(const Policy& policy, int32_t step, Urgency urgency) {
  const absl::Time start = absl::Now();
  HONE_RETURN_IF_ERROR(AwaitCheckpoint());
  if (checkpoint_step_ == step) return absl::OkStatus();
  const std::shared_ptr<const WeightSnapshot> before = SnapshotBefore(step);
  model::FlatTensor previous;
  if (before != nullptr) {
    HONE_ASSIGN_OR_RETURN(previous, ValuesOf(kernels(), policy.config(), *before));
  }
  being_written_ = {.run = work_.run(),
                    .stage = stage().name(),
                    .spec_hash = spec_hash_,
                    .version = version(step),
                    .parent_version = step == 0 ? work_.parent_version() : version(step) - 1,
                    .step = step,
                    .optimizer_updates = policy.optimizer().updates(),
                    .optimizer_skipped = policy.optimizer().skipped(),
                    .journal_position = journal_position_,
                    .root_hash = RootHashOf(policy.config(), policy.masters(), step),
                    .inputs = inputs_,
                    .previous_root_hash = before == nullptr ? "" : before->version().root_hash};
  const CheckpointSource source = {.learner_epoch = services_.client->epoch(),
                                   .state = &being_written_,
                                   .config = &policy.config(),
                                   .files = &policy.files(),
                                   .masters = &policy.masters(),
                                   .first_moment = &policy.optimizer().first_moment(),
                                   .second_moment = &policy.optimizer().second_moment(),
                                   .previous = before == nullptr ? nullptr : &previous};
  const std::string folder = CheckpointFolder();
  HONE_RETURN_IF_ERROR(CreateDirectories(folder));
  checkpoint_step_ = step;
  if (urgency == Urgency::kMayLag && work_.spec().checkpoints().asynchronous()) {
    writer_.Begin(source, folder);
    checkpoint_seconds_ += SecondsSince(start);
    return absl::OkStatus();
  }
  const absl::Status written = ReportCheckpoint(learner::WriteCheckpoint(source, folder));
  checkpoint_seconds_ += SecondsSince(start);
  return written;
}

absl::Status WorkSession::AwaitCheckpoint() {
  return writer_.pending() ? ReportCheckpoint(writer_.Wait()) : absl::OkStatus();
}

absl::Status WorkSession::TakeUpCheckpoint() { return writer_.ended() ? AwaitCheckpoint() : absl::OkStatus(); }

absl::Status WorkSession::ReportCheckpoint(absl::StatusOr<std::string> written) {
  HONE_ASSIGN_OR_RETURN(checkpoint_path_, std::move(written));
  checkpoint_hash_ = being_written_.root_hash;
  HONE_ASSIGN_OR_RETURN(const std::vector<std::string> obsolete,
                        services_.client->ReportCheckpoint(work_, being_written_.step, checkpoint_path_,
                                                           checkpoint_hash_, being_written_.journal_position));
  for (const std::string& path : obsolete) {
    // Only what this stage wrote: a path from elsewhere is never removed on another process's word.
    if (!IsCheckpointOf(CheckpointFolder(), path)) {
      HONE_WARNING << "not removing '" << path << "': it is no checkpoint of " << CheckpointFolder();
    } else if (const absl::Status removed = RemoveCheckpoint(path, services_.client->epoch()); !removed.ok()) {
      HONE_WARNING << "obsolete checkpoint " << path << ": " << removed.ToString();
    }
  }
  return absl::OkStatus();
}

absl::Status WorkSession::Finish(v1::WorkOutcome outcome, int32_t steps) {
  HONE_CHECK_EQ(checkpoint_step_, steps);
  HONE_CHECK(!writer_.pending());
  return services_.client->FinishWork(
      work_, {.outcome = outcome, .path = checkpoint_path_, .root_hash = checkpoint_hash_, .steps = steps});
}

void WorkSession::TakeTimes(std::map<std::string, double>* metrics) {
  (*metrics)["time/publish"] = std::exchange(publish_seconds_, 0);
  (*metrics)["time/checkpoint"] = std::exchange(checkpoint_seconds_, 0);
}

}  // namespace hone::learner
