#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "kernels/random.h"
#include "learner/dataset.h"
#include "learner/prompt_room.h"
#include "learner/stage_driver.h"
#include "learner/supervised_step.h"
#include "learner/trainer.h"

namespace hone::learner {
namespace {

const v1::SftStage& SupervisedSpec(const v1::StageSpec& stage) {
  return stage.has_pretrain() ? stage.pretrain() : stage.sft();
}

std::string FileOr(const ModelFiles& files, const std::string& name) {
  const auto it = files.find(name);
  return it == files.end() ? "" : it->second;
}

absl::StatusOr<SupervisedData> LoadData(const WorkSession& session) {
  const ModelFiles& files = session.files();
  const v1::SftStage& spec = SupervisedSpec(session.stage());
  const auto dataset = session.work().spec().datasets().find(spec.dataset());
  if (dataset == session.work().spec().datasets().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("stage '", session.stage().name(), "': no data set '", spec.dataset(), "'"));
  }
  const auto tokenizer_json = files.find("tokenizer.json");
  if (tokenizer_json == files.end()) return absl::NotFoundError("the model folder has no tokenizer.json");
  const std::string tokenizer_config = FileOr(files, "tokenizer_config.json");
  HONE_ASSIGN_OR_RETURN(const auto tokenizer, model::Tokenizer::FromJson(tokenizer_json->second, tokenizer_config));
  RowContext context{.kernels = &session.kernels(),
                     .tokenizer = tokenizer.get(),
                     .tokenizer_config_json = tokenizer_config,
                     .chat_template_jinja = FileOr(files, "chat_template.jinja"),
                     .vocab_size = session.config().vocab_size,
                     .max_positions = session.config().max_positions};
  if (tokenizer->eos_id().has_value()) {
    context.eos_id = *tokenizer->eos_id();
  } else if (!session.config().eos_token_ids.empty()) {
    context.eos_id = session.config().eos_token_ids.front();
  }
  auto data = LoadSupervisedData(dataset->second, spec, context);
  if (!data.ok()) return Annotate(data.status(), absl::StrCat("data set '", spec.dataset(), "'"));
  return data;
}

int64_t BatchSize(const v1::SftStage& spec) { return spec.has_batch_size() ? spec.batch_size() : 64; }

absl::StatusOr<int32_t> TotalSteps(const v1::SftStage& spec, int64_t rows) {
  if (spec.has_steps()) return spec.steps();
  const double steps = std::ceil(spec.epochs() * static_cast<double>(rows) / static_cast<double>(BatchSize(spec)));
  if (!(steps >= 1 && steps < std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat("epochs: ", spec.epochs(), " epochs of ", rows, " rows make ", steps,
                                                   " steps; expected at least 1 and fewer than 2^31"));
  }
  return static_cast<int32_t>(steps);
}

}  // namespace

absl::Status TrainSupervised(WorkSession* session) {
  const v1::SftStage& spec = SupervisedSpec(session->stage());
  const int64_t batch_size = BatchSize(spec);
  if (batch_size < 1)
    return absl::InvalidArgumentError(absl::StrCat("batch_size: expected at least 1, got ", batch_size));
  HONE_RETURN_IF_ERROR(session->Load());
  HONE_RETURN_IF_ERROR(CheckModelText(session->work().spec(), session->stage(), session->files()));
  HONE_RETURN_IF_ERROR(
      CheckPromptRoomFrom(session->work().spec(), session->work().stage_index(), session->config().max_positions));
  // Before the policy: the number of steps may depend on the data, and the schedule on that.
  HONE_ASSIGN_OR_RETURN(const SupervisedData data, LoadData(*session));
  for (size_t i = 0; i < data.sources.size(); ++i) {
    const SupervisedSource& source = data.sources[i];
    HONE_RETURN_IF_ERROR(session->NoteInput(absl::StrCat("datasets.", spec.dataset(), ".sources[", i, "] (",
                                                         source.path.substr(source.path.rfind('/') + 1), ")"),
                                            source.sha256));
  }
  HONE_ASSIGN_OR_RETURN(const int32_t total, TotalSteps(spec, data.row_count()));
  // Of a stage in steps the coordinator has checked it.
  if (spec.optimizer().warmup_steps() > total) {
    return absl::InvalidArgumentError(absl::StrCat("optimizer.warmup_steps: expected at most the stage's ", total,
                                                   " steps (epochs: ", spec.epochs(), "), got ",
                                                   spec.optimizer().warmup_steps()));
  }
  const v1::RunSpec& run = session->work().spec();
  const std::unique_ptr<Policy> policy = session->TakePolicy(MakePolicyOptions(run, spec.optimizer(), total));
  const RepetitionDropout dropout = {.probability = spec.repetition_dropout().probability(),
                                     .max_ngram = spec.repetition_dropout().max_ngram()};
  const std::string dropout_stream = "repetition_dropout/" + session->stage().name();
  SampleOrder order(session->work().spec().seed(), session->stage().name(), data.order_sources(),
                    !spec.has_shuffle() || spec.shuffle());
  int32_t step = session->resume_step();
  order.Skip(step * batch_size);
  // The schedule spans the whole stage, wherever it ends.
  const int32_t last = LastStep(session->work(), total);
  StageDriver driver(session, policy.get(),
                     {.total_steps = last, .evaluate = spec.has_evaluate() ? &spec.evaluate() : nullptr});
  HONE_INFO << "stage '" << session->stage().name() << "': " << last << " steps of " << batch_size
            << " sequences, from step " << step;
  HONE_ASSIGN_OR_RETURN(Flow flow, driver.Begin(step));
  std::vector<TrainingSequence> sequences;
  while (flow == Flow::kContinue && step < last) {
    if (session->cancelled()) return absl::CancelledError("shutting down");
    sequences.clear();
    for (int64_t i = 0; i < batch_size; ++i) {
      const SampleOrder::Item item = order.Next();
      sequences.push_back(
          MakeSequence(data.sources[static_cast<size_t>(item.source)].rows[static_cast<size_t>(item.row)]));
    }
    ++step;
    const uint64_t dropout_key = kernels::StreamKey(run.seed(), dropout_stream.c_str(), static_cast<uint64_t>(step));
    HONE_ASSIGN_OR_RETURN(flow,
                          driver.AfterStep(step, SupervisedStep(policy.get(), sequences, step, dropout, dropout_key)));
  }
  return driver.End(flow == Flow::kContinue ? Flow::kFinish : flow, step);
}

}  // namespace hone::learner
