#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "base/logging.h"
#include "learner/dataset.h"
#include "learner/prompt_room.h"
#include "learner/rl_step.h"
#include "learner/stage_driver.h"
#include "learner/trainer.h"

namespace hone::learner {
namespace {

// The stage's start, or where it was renewed since the policy of the last renewal.
absl::StatusOr<std::unique_ptr<ReferenceModel>> MakeReference(WorkSession* session, const RlOptions& options) {
  const int32_t step = options.ReferenceStep(session->resume_step());
  if (step > 0) {
    auto earlier = session->LoadEarlier(step);
    if (!earlier.ok()) return Annotate(earlier.status(), "the reference model");
    return std::make_unique<ReferenceModel>(session->kernels(), *earlier, session->dtype());
  }
  HONE_ASSIGN_OR_RETURN(const LoadedModel start, LoadOrigin(session->work().start(), session->work().spec().seed()));
  HONE_RETURN_IF_ERROR(session->NoteInput("the reference model", model::RootHash(start.config, start.masters)));
  return std::make_unique<ReferenceModel>(session->kernels(), start, session->dtype());
}

}  // namespace

absl::Status TrainRl(WorkSession* session) {
  const v1::RlStage& spec = session->stage().rl();
  HONE_ASSIGN_OR_RETURN(const RlOptions options, MakeRlOptions(spec));
  const int32_t total = spec.steps();
  HONE_RETURN_IF_ERROR(session->Load());
  HONE_RETURN_IF_ERROR(CheckModelText(session->work().spec(), session->stage(), session->files()));
  HONE_RETURN_IF_ERROR(
      CheckPromptRoomFrom(session->work().spec(), session->work().stage_index(), session->config().max_positions));
  const std::unique_ptr<Policy> policy = session->TakePolicy(
      MakePolicyOptions(session->work().spec(), spec.optimizer(), int64_t{total} * options.minibatches));
  std::unique_ptr<ReferenceModel> reference;
  if (options.has_reference()) {
    HONE_ASSIGN_OR_RETURN(reference, MakeReference(session, options));
  }
  RlStep rl_step(policy.get(), reference.get(), options);
  int32_t step = session->resume_step();
  // The schedule spans the whole stage, wherever it ends.
  const int32_t last = LastStep(session->work(), total);
  StageDriver driver(session, policy.get(),
                     {.total_steps = last,
                      .evaluate = spec.has_evaluate() ? &spec.evaluate() : nullptr,
                      .publish_every_step = true,
                      .reference_refresh_steps = options.reference_refresh_steps});
  HONE_INFO << "stage '" << session->stage().name() << "': " << last << " steps, from step " << step;
  HONE_ASSIGN_OR_RETURN(Flow flow, driver.Begin(step));
  CoordinatorClient::Batch fetched;
  while (flow == Flow::kContinue && step < last) {
    if (session->cancelled()) return absl::CancelledError("shutting down");
    const absl::Time start = absl::Now();
    HONE_ASSIGN_OR_RETURN(flow, session->client().FetchBatch(session->work(), step + 1, &fetched));
    if (flow != Flow::kContinue) break;
    const double waited = absl::ToDoubleSeconds(absl::Now() - start);
    HONE_ASSIGN_OR_RETURN(const RlBatch batch,
                          BuildRlBatch(fetched.groups, options, session->version(step), policy->config().vocab_size,
                                       policy->config().max_positions));
    std::map<std::string, double> metrics = rl_step.Run(batch, int64_t{step} * options.minibatches + 1);
    metrics["time/wait_batch"] = waited;
    if (options.reference_refresh_steps > 0) metrics["actor/reference_step"] = options.ReferenceStep(step);
    session->set_journal_position(fetched.journal_position);
    ++step;
    if (reference != nullptr && options.ReferenceStep(step) == step) reference->Become(policy->masters());
    HONE_ASSIGN_OR_RETURN(flow, driver.AfterStep(step, std::move(metrics)));
  }
  return driver.End(flow == Flow::kContinue ? Flow::kFinish : flow, step);
}

}  // namespace hone::learner
