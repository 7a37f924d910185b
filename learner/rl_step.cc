#include "learner/rl_step.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "absl/time/clock.h"

namespace hone::learner {
namespace {

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// What is laid end to end in a micro-batch, put in the rows of its members.
void Scatter(const MicroBatch& micro, const RlBatch& batch, const std::vector<float>& values, SampleValues* rows) {
  auto next = values.begin();
  for (const int32_t member : micro.members) {
    const auto count = static_cast<ptrdiff_t>(batch.sequences[static_cast<size_t>(member)].targets.size());
    (*rows)[static_cast<size_t>(member)].assign(next, next + count);
    next += count;
  }
}

// 0 only where the bits are equal; infinity where one is not a number.
double Difference(float a, float b) {
  if (std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b)) return 0;
  const double difference = std::fabs(static_cast<double>(a) - static_cast<double>(b));
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

double Ratio(double numerator, double denominator) { return denominator > 0 ? numerator / denominator : 0; }

}  // namespace

ReferenceModel::ReferenceModel(const kernels::KernelContext& context, const LoadedModel& loaded, kernels::DType dtype)
    : weights_(context, loaded.config, dtype, /*for_training=*/false), model_(context, weights_) {
  weights_.LoadAll(loaded.masters);
}

// Sums over one step.
struct RlStep::Totals {
  double policy_loss = 0, kl_loss = 0;  // aggregated, summed over minibatches
  double entropy = 0;
  int64_t entropy_tokens = 0;
  int64_t loss_tokens = 0;     // in the loss
  int64_t trained_tokens = 0;  // of these, with a gradient
  int64_t clipped_low = 0, clipped_high = 0;
  double log_ratio = 0, ratio = 0;
  double ratio_min = std::numeric_limits<double>::infinity();
  double ratio_max = 0;
  double gradient_norm = 0, learning_rate = 0;
  int updates = 0, skipped = 0;
  int64_t fed_tokens = 0;     // of the sequences that went through forward and backward
  int64_t shared_tokens = 0;  // of these, in rows that another sequence of the group had already
  double train_seconds = 0, forward_seconds = 0;

  void AddEntropies(const std::vector<float>& entropies) {
    for (const float value : entropies) entropy += value;
    entropy_tokens += static_cast<int64_t>(entropies.size());
  }
};

struct RlStep::Minibatch {
  std::vector<int32_t> trained;  // sequences with a gradient
  std::vector<int32_t> others;
  LossExtent extent;
};

RlStep::RlStep(Policy* policy, ReferenceModel* reference, const RlOptions& options)
    : policy_(policy), reference_(reference), options_(options) {}

RlStep::Minibatch RlStep::MakeMinibatch(const RlBatch& batch, int index) const {
  const int64_t begin = int64_t{batch.group_count} * index / options_.minibatches;
  const int64_t end = int64_t{batch.group_count} * (index + 1) / options_.minibatches;
  Minibatch minibatch;
  minibatch.extent.max_new_tokens = options_.max_new_tokens;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    const RlSample& sample = batch.samples[i];
    if (sample.group < begin || sample.group >= end) continue;
    const bool trained = sample.in_loss && (sample.advantage != 0 || reference_ != nullptr);
    (trained ? minibatch.trained : minibatch.others).push_back(static_cast<int32_t>(i));
    if (!sample.in_loss) continue;
    ++minibatch.extent.sequences;
    minibatch.extent.tokens += static_cast<int64_t>(batch.sequences[i].targets.size());
  }
  return minibatch;
}

void RlStep::ForwardOnly(model::TrainingModel& model, const RlBatch& batch, const std::vector<int32_t>& order,
                         SampleValues* logprobs, Totals* totals) {
  const absl::Time start = absl::Now();
  std::vector<float> values, entropies;
  for (const MicroBatch& micro : PackMicroBatches(batch.sequences, order, policy_->token_budget())) {
    model.Forward(micro.packed, options_.temperature, /*keep=*/false, &values, &entropies);
    Scatter(micro, batch, values, logprobs);
    if (logprobs == &old_logprobs_) totals->AddEntropies(entropies);
  }
  totals->forward_seconds += SecondsSince(start);
}

void RlStep::LossGradient(const RlBatch& batch, const Minibatch& minibatch, const MicroBatch& micro,
                          std::vector<float>* logprobs, Totals* totals) {
  size_t next = 0;
  for (const int32_t member : micro.members) {
    const size_t index = static_cast<size_t>(member);
    const size_t count = batch.sequences[index].targets.size();
    const double weight = TokenWeight(options_.aggregation, minibatch.extent, static_cast<int64_t>(count));
    for (size_t t = 0; t < count; ++t, ++next) {
      const double logprob = (*logprobs)[next];
      const double old_logprob = old_logprobs_[index][t];
      const double ratio = ImportanceRatio(logprob, old_logprob);
      const TokenPolicyLoss policy = ClippedPolicyLoss(ratio, batch.samples[index].advantage, options_.clip);
      double gradient = policy.d_logprob;
      if (reference_ != nullptr) {
        const TokenKl kl = EstimateKl(options_.kl_estimator, logprob, reference_logprobs_[index][t]);
        gradient += options_.kl_coefficient * kl.d_logprob;
        totals->kl_loss += weight * kl.value;
      }
      (*logprobs)[next] = static_cast<float>(weight * gradient);
      totals->policy_loss += weight * policy.loss;
      totals->clipped_low += policy.clipped_low;
      totals->clipped_high += policy.clipped_high;
      totals->log_ratio += old_logprob - logprob;
      totals->ratio += ratio;
      totals->ratio_min = std::min(totals->ratio_min, ratio);
      totals->ratio_max = std::max(totals->ratio_max, ratio);
    }
  }
  totals->trained_tokens += static_cast<int64_t>(next);
}

void RlStep::Train(const RlBatch& batch, const Minibatch& minibatch, bool first, int64_t optimizer_step,
                   Totals* totals) {
  const absl::Time start = absl::Now();
  policy_->ZeroGradients();
  std::vector<float> values, entropies;
  for (const MicroBatch& micro : PackMicroBatches(batch.sequences, minibatch.trained, policy_->token_budget())) {
    policy_->model().Forward(micro.packed, options_.temperature, /*keep=*/true, &values, &entropies);
    if (first) {
      Scatter(micro, batch, values, &old_logprobs_);
      totals->AddEntropies(entropies);
    }
    LossGradient(batch, minibatch, micro, &values, totals);
    policy_->model().Backward(values, {}, policy_->gradients());
    totals->fed_tokens += micro.fed_tokens;
    totals->shared_tokens += micro.fed_tokens - static_cast<int64_t>(micro.packed.tokens.size());
  }
  const AdamW::StepResult result = policy_->Update(optimizer_step);
  totals->train_seconds += SecondsSince(start);
  totals->learning_rate = result.learning_rate;
  if (result.applied) {
    ++totals->updates;
    totals->gradient_norm += result.gradient_norm;
  } else {
    ++totals->skipped;
  }
}

std::map<std::string, double> RlStep::Run(const RlBatch& batch, int64_t first_optimizer_step) {
  old_logprobs_.assign(batch.samples.size(), {});
  reference_logprobs_.assign(batch.samples.size(), {});
  Totals totals;
  std::vector<Minibatch> minibatches;
  std::vector<int32_t> ahead;  // old log-probs to be had before the first update
  for (int m = 0; m < options_.minibatches; ++m) {
    minibatches.push_back(MakeMinibatch(batch, m));
    const Minibatch& minibatch = minibatches.back();
    totals.loss_tokens += minibatch.extent.tokens;
    if (m > 0) ahead.insert(ahead.end(), minibatch.trained.begin(), minibatch.trained.end());
    ahead.insert(ahead.end(), minibatch.others.begin(), minibatch.others.end());
    if (reference_ != nullptr) {
      ForwardOnly(reference_->model(), batch, minibatch.trained, &reference_logprobs_, &totals);
    }
  }
  ForwardOnly(policy_->model(), batch, ahead, &old_logprobs_, &totals);
  for (size_t m = 0; m < minibatches.size(); ++m) {
    if (minibatches[m].trained.empty()) continue;
    Train(batch, minibatches[m], m == 0, first_optimizer_step + static_cast<int64_t>(m), &totals);
  }
  return Metrics(batch, totals);
}

std::map<std::string, double> RlStep::Metrics(const RlBatch& batch, const Totals& totals) const {
  double difference_max = 0;
  int64_t compared = 0;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    if (!batch.samples[i].on_policy) continue;
    const std::vector<float>& rollout = batch.samples[i].rollout_logprobs;
    for (size_t t = 0; t < rollout.size(); ++t) {
      difference_max = std::max(difference_max, Difference(old_logprobs_[i][t], rollout[t]));
    }
    compared += static_cast<int64_t>(rollout.size());
  }
  const double trained = static_cast<double>(totals.trained_tokens);
  const double in_loss = static_cast<double>(totals.loss_tokens);
  const double attempts = totals.updates + totals.skipped;
  std::map<std::string, double> metrics = {
      {"actor/pg_loss", totals.policy_loss / options_.minibatches},
      {"actor/entropy", Ratio(totals.entropy, static_cast<double>(totals.entropy_tokens))},
      {"actor/grad_norm", Ratio(totals.gradient_norm, totals.updates)},
      {"actor/pg_clipfrac", Ratio(static_cast<double>(totals.clipped_low + totals.clipped_high), in_loss)},
      {"actor/pg_clipfrac_lower", Ratio(static_cast<double>(totals.clipped_low), in_loss)},
      {"actor/pg_clipfrac_higher", Ratio(static_cast<double>(totals.clipped_high), in_loss)},
      {"actor/ppo_kl", Ratio(totals.log_ratio, trained)},
      {"actor/updates", totals.updates},
      {"actor/skipped_updates", totals.skipped},
      {"train/tokens", static_cast<double>(totals.fed_tokens)},
      {"train/shared_tokens", static_cast<double>(totals.shared_tokens)},
      {"train/seconds", totals.train_seconds},
      {"train/tokens_per_s", Ratio(static_cast<double>(totals.fed_tokens), totals.train_seconds)},
      {"train/loss_tokens", in_loss},
      {"train/zero_variance_groups", batch.zero_variance_groups},
      {"train/dropped_groups", batch.dropped_groups},
      {"train/excluded_samples", batch.excluded},
      {"train/masked_truncated_samples", batch.truncated},
      {"train/empty_samples", batch.empty},
      {"rollout/logprob_diff_max", difference_max},
      {"rollout/compared_tokens", static_cast<double>(compared)},
      {"time/forward", totals.forward_seconds},
      {"time/update", totals.train_seconds},
  };
  if (attempts > 0) metrics["actor/lr"] = totals.learning_rate;
  if (totals.trained_tokens > 0) {
    metrics["actor/ratio_mean"] = totals.ratio / trained;
    metrics["actor/ratio_min"] = totals.ratio_min;
    metrics["actor/ratio_max"] = totals.ratio_max;
  }
  if (reference_ != nullptr) metrics["actor/kl_loss"] = totals.kl_loss / options_.minibatches;
  return metrics;
}

}  // namespace hone::learner
