#include "learner/supervised_step.h"

#include <algorithm>
#include <numeric>

#include "absl/time/clock.h"

namespace hone::learner {

std::map<std::string, double> SupervisedStep(Policy* policy, const std::vector<TrainingSequence>& sequences,
                                             int64_t optimizer_step, const RepetitionDropout& dropout,
                                             uint64_t dropout_key) {
  const absl::Time start = absl::Now();
  std::vector<int32_t> order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  MicroBatchRule rule = policy->micro_batch_rule();
  // Rows of which others see other keys cannot be shared; and all rows of a step may begin alike: one unit.
  if (rule.whole_units || dropout.probability > 0) rule.share_rows = false;
  std::vector<MicroBatch> micro_batches = PackMicroBatches(sequences, order, rule);
  int64_t loss_tokens = 0, fed_tokens = 0, shared_tokens = 0;
  for (const MicroBatch& micro : micro_batches) {
    loss_tokens += micro.target_count;
    fed_tokens += micro.fed_tokens;
    shared_tokens += micro.fed_tokens - static_cast<int64_t>(micro.packed.tokens.size());
  }
  policy->ZeroGradients();
  double negative_log_likelihood = 0, entropy = 0;
  std::vector<float> logprobs, entropies;
  const float gradient = static_cast<float>(-1.0 / static_cast<double>(std::max<int64_t>(1, loss_tokens)));
  for (MicroBatch& micro : micro_batches) {
    if (dropout.probability > 0) HideRepetitions(policy->config().layers, dropout, dropout_key, &micro);
    policy->model().Forward(micro.packed, /*temperature=*/1.0f, /*keep=*/true, &logprobs, &entropies);
    for (const float logprob : logprobs) negative_log_likelihood -= logprob;
    for (const float value : entropies) entropy += value;
    std::fill(logprobs.begin(), logprobs.end(), gradient);
    policy->model().Backward(logprobs, {}, policy->gradients());
  }
  const AdamW::StepResult result = policy->Update(optimizer_step);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const double tokens = static_cast<double>(std::max<int64_t>(1, loss_tokens));
  std::map<std::string, double> metrics = {
      {"loss", negative_log_likelihood / tokens},
      {"actor/entropy", entropy / tokens},
      {"actor/lr", result.learning_rate},
      {"actor/skipped_updates", result.applied ? 0 : 1},
      {"train/tokens", static_cast<double>(fed_tokens)},
      {"train/shared_tokens", static_cast<double>(shared_tokens)},
      {"train/loss_tokens", static_cast<double>(loss_tokens)},
      {"train/seconds", seconds},
      {"train/tokens_per_s", static_cast<double>(fed_tokens) / seconds},
      {"time/update", seconds},
  };
  if (result.applied) metrics["actor/grad_norm"] = result.gradient_norm;
  return metrics;
}

}  // namespace hone::learner
