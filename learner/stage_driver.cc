#include "learner/stage_driver.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/logging.h"

namespace hone::learner {
namespace {

double PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

}  // namespace

int32_t LastStep(const v1::LearnerWork& work, int32_t total) {
  return work.has_finish_step() ? std::min(total, work.finish_step()) : total;
}

StageDriver::StageDriver(WorkSession* session, Policy* policy, const StagePlan& plan)
    : session_(session), policy_(policy), plan_(plan) {}

bool StageDriver::EvaluationMayBeDue(int32_t step) const {
  if (plan_.evaluate == nullptr) return false;
  const v1::PeriodicEvalSpec& spec = *plan_.evaluate;
  if (step == 0) return !spec.has_at_start() || spec.at_start();
  if (step == plan_.total_steps && (!spec.has_at_end() || spec.at_end())) return true;
  return spec.every_steps() > 0 && step % spec.every_steps() == 0;
}

bool StageDriver::CheckpointWanted(int32_t step) const {
  if (step == plan_.total_steps) return true;
  if (step > 0 && CheckpointDue(session_->work().spec(), step)) return true;
  if (step > 0 && plan_.reference_refresh_steps > 0 && step % plan_.reference_refresh_steps == 0) return true;
  // The best of the evaluated versions is to be kept, so each must be there to be chosen: by the plan, not by what the
  // coordinator says is due now, which after a crash leaves out what has been evaluated before it.
  return plan_.evaluate != nullptr && plan_.evaluate->keep_best() && EvaluationMayBeDue(step);
}

absl::StatusOr<Flow> StageDriver::Begin(int32_t step) {
  if (!plan_.publish_every_step && !EvaluationMayBeDue(step)) return Flow::kContinue;
  HONE_RETURN_IF_ERROR(session_->PublishPrevious(*policy_));
  HONE_ASSIGN_OR_RETURN(const bool evaluation_due, session_->Publish(*policy_, step));
  if (CheckpointWanted(step)) {
    HONE_RETURN_IF_ERROR(session_->WriteCheckpoint(*policy_, step, WorkSession::Urgency::kMayLag));
  }
  if (!evaluation_due || plan_.publish_every_step) return Flow::kContinue;
  return session_->client().AwaitRelease(session_->work(), session_->version(step));
}

absl::StatusOr<Flow> StageDriver::AfterStep(int32_t step, std::map<std::string, double> metrics) {
  const bool last = step == plan_.total_steps;
  bool evaluation_due = false;
  HONE_RETURN_IF_ERROR(session_->TakeUpCheckpoint());
  if (!last && (plan_.publish_every_step || EvaluationMayBeDue(step))) {
    HONE_ASSIGN_OR_RETURN(evaluation_due, session_->Publish(*policy_, step));
  }
  session_->TakeTimes(&metrics);
  metrics["memory/peak_rss_bytes"] = PeakResidentBytes();
  HONE_ASSIGN_OR_RETURN(const Flow flow,
                        session_->client().ReportStep(session_->work(), step, plan_.total_steps, metrics));
  if (flow != Flow::kContinue || last) return flow;
  if (CheckpointWanted(step)) {
    HONE_RETURN_IF_ERROR(session_->WriteCheckpoint(*policy_, step, WorkSession::Urgency::kMayLag));
  }
  if (!evaluation_due || plan_.publish_every_step) return Flow::kContinue;
  return session_->client().AwaitRelease(session_->work(), session_->version(step));
}

absl::Status StageDriver::End(Flow flow, int32_t steps) {
  if (flow == Flow::kAbandon) {
    HONE_WARNING << "work " << session_->work().work_id() << " abandoned after step " << steps;
    return absl::OkStatus();
  }
  if (flow == Flow::kStop) {
    HONE_RETURN_IF_ERROR(session_->WriteCheckpoint(*policy_, steps, WorkSession::Urgency::kNow));
    return session_->Finish(v1::WORK_OUTCOME_STOPPED, steps);
  }
  HONE_ASSIGN_OR_RETURN(const bool evaluation_due, session_->Publish(*policy_, steps));
  HONE_RETURN_IF_ERROR(session_->WriteCheckpoint(*policy_, steps, WorkSession::Urgency::kNow));
  if (evaluation_due) {
    HONE_ASSIGN_OR_RETURN(const Flow released,
                          session_->client().AwaitRelease(session_->work(), session_->version(steps)));
    if (released == Flow::kAbandon) return End(Flow::kAbandon, steps);
    // Stopped while the last evaluation ran: a resume finds every step done and evaluates again.
    if (released == Flow::kStop) return session_->Finish(v1::WORK_OUTCOME_STOPPED, steps);
  }
  return session_->Finish(v1::WORK_OUTCOME_DONE, steps);
}

}  // namespace hone::learner
