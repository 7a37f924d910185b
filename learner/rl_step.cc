#include "learner/rl_step.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "absl/time/clock.h"

namespace hone::learner {
namespace {

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// Calls visit(index in the batch, begin, count) for each member of a micro-batch: its values lie at [begin, begin +
// count) of what the forward pass gives.
template <typename Visit>
void EachMember(const MicroBatch& micro, const RlBatch& batch, const Visit& visit) {
  size_t begin = 0;
  for (const int32_t member : micro.members) {
    const auto index = static_cast<size_t>(member);
    const size_t count = batch.sequences[index].targets.size();
    visit(index, begin, count);
    begin += count;
  }
}

// 0 only where the bits are equal; infinity where one is not a number.
double Difference(float a, float b) {
  if (std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b)) return 0;
  const double difference = std::fabs(static_cast<double>(a) - static_cast<double>(b));
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

double Ratio(double numerator, double denominator) { return denominator > 0 ? numerator / denominator : 0; }

using MetricMap = std::map<std::string, double>;

// Over the tokens in the loss.
void AddAdvantages(const RlBatch& batch, const std::vector<std::vector<double>>& advantages, MetricMap* metrics) {
  double sum = 0, lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
  int64_t count = 0;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    if (!batch.samples[i].in_loss) continue;
    for (const double advantage : advantages[i]) {
      sum += advantage;
      lowest = std::min(lowest, advantage);
      highest = std::max(highest, advantage);
      ++count;
    }
  }
  if (count == 0) return;
  (*metrics)["critic/advantages/mean"] = sum / static_cast<double>(count);
  (*metrics)["critic/advantages/min"] = lowest;
  (*metrics)["critic/advantages/max"] = highest;
}

// Effective sample size: (sum w)^2 / (n sum w^2), 1 where all weights are equal.
void AddCorrections(const LossTotals& loss, MetricMap* metrics) {
  const double count = static_cast<double>(loss.tokens);
  (*metrics)["rollout_corr/weight_mean"] = loss.correction / count;
  (*metrics)["rollout_corr/weight_min"] = loss.correction_min;
  (*metrics)["rollout_corr/weight_max"] = loss.correction_max;
  (*metrics)["rollout_corr/masked_share"] = static_cast<double>(loss.correction_zeros) / count;
  (*metrics)["rollout_corr/effective_sample_size"] =
      Ratio(loss.correction * loss.correction, count * loss.correction_squares);
}

// Of samples that other weights than those at the step's start drew: pi_start / pi_rollout of their tokens in the loss.
void AddOffPolicyRatios(const RlBatch& batch, const SampleValues& start, MetricMap* metrics) {
  double sum = 0, squares = 0, lowest = std::numeric_limits<double>::infinity(), highest = 0;
  int64_t count = 0;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    const RlSample& sample = batch.samples[i];
    if (sample.on_policy || !sample.in_loss) continue;
    for (size_t t = 0; t < sample.rollout_logprobs.size(); ++t) {
      const double ratio = BoundedExp(static_cast<double>(start[i][t]) - sample.rollout_logprobs[t]);
      sum += ratio;
      squares += ratio * ratio;
      lowest = std::min(lowest, ratio);
      highest = std::max(highest, ratio);
      ++count;
    }
  }
  if (count == 0) return;
  const double n = static_cast<double>(count);
  (*metrics)["off_policy/ratio_mean"] = sum / n;
  (*metrics)["off_policy/ratio_min"] = lowest;
  (*metrics)["off_policy/ratio_max"] = highest;
  (*metrics)["off_policy/effective_sample_size"] = sum * sum / (n * squares);
}

}  // namespace

ReferenceModel::ReferenceModel(const kernels::KernelContext& context, const LoadedModel& loaded, kernels::DType dtype)
    : weights_(context, loaded.config, dtype, /*for_training=*/false), model_(context, weights_) {
  weights_.LoadAll(loaded.masters);
}

std::vector<std::vector<double>> AdvantagesOf(const RlBatch& batch, const RlOptions& options,
                                              const std::vector<std::vector<double>>& kl) {
  std::vector<OutcomeSample> outcomes;
  outcomes.reserve(batch.samples.size());
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    const RlSample& sample = batch.samples[i];
    OutcomeSample outcome{.group = sample.group,
                          .reward = sample.reward,
                          .in_loss = sample.in_loss,
                          .tokens = static_cast<int64_t>(batch.sequences[i].targets.size()),
                          .steps = sample.steps};
    if (!kl.empty()) {
      for (const double value : kl[i]) outcome.penalties.push_back(options.objective.kl_coefficient * value);
    }
    outcomes.push_back(std::move(outcome));
  }
  return EstimateAdvantages(outcomes, {.advantage = options.advantage,
                                       .kl_placement = options.objective.kl_placement,
                                       .discount = options.discount,
                                       .process = options.process});
}

// Sums over one step.
struct RlStep::Totals {
  LossTotals loss;
  double reward_kl = 0;  // of the tokens in the loss, where the KL is in the reward
  double entropy = 0;
  int64_t entropy_tokens = 0;
  int64_t loss_tokens = 0;  // in the loss
  double gradient_norm = 0, learning_rate = 0;
  int updates = 0, skipped = 0;
  int64_t fed_tokens = 0;     // of the sequences that went through forward and backward
  int64_t shared_tokens = 0;  // of these, in rows that another sequence of the group had already
  double train_seconds = 0, forward_seconds = 0;

  void AddEntropies(std::span<const float> entropies) {
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

void RlStep::EstimateAdvantages(const RlBatch& batch, Totals* totals) {
  std::vector<std::vector<double>> kl;
  if (reference_ != nullptr && options_.kl_in_reward()) {
    std::vector<int32_t> all(batch.samples.size());
    std::iota(all.begin(), all.end(), 0);
    std::vector<int32_t> off_policy;
    std::copy_if(all.begin(), all.end(), std::back_inserter(off_policy),
                 [&](int32_t i) { return !batch.samples[static_cast<size_t>(i)].on_policy; });
    StartLogProbs(batch, off_policy, totals);
    ReferenceLogProbs(batch, all, totals);
    kl.resize(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      const RlSample& sample = batch.samples[i];
      const std::vector<float>& policy = sample.on_policy ? sample.rollout_logprobs : start_logprobs_[i];
      for (size_t t = 0; t < policy.size(); ++t) {
        kl[i].push_back(EstimateKl(options_.objective.kl_estimator, policy[t], reference_logprobs_[i][t]).value);
        if (sample.in_loss) totals->reward_kl += kl[i].back();
      }
    }
  }
  advantages_ = AdvantagesOf(batch, options_, kl);
}

RlStep::Minibatch RlStep::MakeMinibatch(const RlBatch& batch, int index) const {
  const int64_t begin = int64_t{batch.group_count} * index / options_.minibatches;
  const int64_t end = int64_t{batch.group_count} * (index + 1) / options_.minibatches;
  const bool always = (reference_ != nullptr && !options_.kl_in_reward()) ||
                      options_.objective.entropy_coefficient != 0;  // a gradient without any advantage
  Minibatch minibatch;
  minibatch.extent.max_new_tokens = options_.max_new_tokens;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    const RlSample& sample = batch.samples[i];
    if (sample.group < begin || sample.group >= end) continue;
    const auto is_zero = [](double advantage) { return advantage == 0; };
    const bool trained =
        sample.in_loss && (always || !std::all_of(advantages_[i].begin(), advantages_[i].end(), is_zero));
    (trained ? minibatch.trained : minibatch.others).push_back(static_cast<int32_t>(i));
    if (!sample.in_loss) continue;
    ++minibatch.extent.sequences;
    minibatch.extent.tokens += static_cast<int64_t>(batch.sequences[i].targets.size());
  }
  return minibatch;
}

void RlStep::StartLogProbs(const RlBatch& batch, const std::vector<int32_t>& order, Totals* totals) {
  const absl::Time start = absl::Now();
  std::vector<float> values, entropies;
  for (const MicroBatch& micro : PackMicroBatches(batch.sequences, order, policy_->micro_batch_rule())) {
    policy_->model().Forward(micro.packed, options_.temperature, /*keep=*/false, &values, &entropies);
    KeepStart(batch, micro, values, entropies, totals);
  }
  totals->forward_seconds += SecondsSince(start);
}

void RlStep::ReferenceLogProbs(const RlBatch& batch, const std::vector<int32_t>& order, Totals* totals) {
  const absl::Time start = absl::Now();
  std::vector<float> values, entropies;
  for (const MicroBatch& micro : PackMicroBatches(batch.sequences, order, policy_->micro_batch_rule())) {
    reference_->model().Forward(micro.packed, options_.temperature, /*keep=*/false, &values, &entropies);
    EachMember(micro, batch, [&](size_t i, size_t begin, size_t count) {
      const auto first = values.begin() + static_cast<ptrdiff_t>(begin);
      reference_logprobs_[i].assign(first, first + static_cast<ptrdiff_t>(count));
    });
  }
  totals->forward_seconds += SecondsSince(start);
}

void RlStep::KeepStart(const RlBatch& batch, const MicroBatch& micro, std::span<const float> logprobs,
                       std::span<const float> entropies, Totals* totals) {
  EachMember(micro, batch, [&](size_t i, size_t begin, size_t count) {
    if (!start_logprobs_[i].empty()) return;
    const std::span<const float> values = logprobs.subspan(begin, count);
    start_logprobs_[i].assign(values.begin(), values.end());
    totals->AddEntropies(entropies.subspan(begin, count));
  });
}

void RlStep::LossGradient(const RlBatch& batch, const Minibatch& minibatch, const MicroBatch& micro,
                          std::vector<float>* logprobs, std::vector<float>* entropies, Totals* totals) {
  const bool with_entropy = options_.objective.entropy_coefficient != 0;
  std::vector<float> d_logprob(logprobs->size()), d_entropy(with_entropy ? entropies->size() : 0);
  EachMember(micro, batch, [&](size_t index, size_t begin, size_t count) {
    const RlSample& sample = batch.samples[index];
    const SequenceTokens sequence{
        .logprobs = std::span(*logprobs).subspan(begin, count),
        .old_logprobs = options_.rollout_is_old_policy ? sample.rollout_logprobs : start_logprobs_[index],
        .rollout_logprobs = sample.rollout_logprobs,
        .reference_logprobs = reference_logprobs_[index],
        .entropies = std::span(*entropies).subspan(begin, count),
        .advantages = advantages_[index]};
    SequenceLoss(options_.objective, minibatch.extent, sequence, std::span(d_logprob).subspan(begin, count),
                 with_entropy ? std::span(d_entropy).subspan(begin, count) : std::span<float>(), &totals->loss);
  });
  *logprobs = std::move(d_logprob);
  *entropies = std::move(d_entropy);
}

void RlStep::Train(const RlBatch& batch, const Minibatch& minibatch, int64_t optimizer_step, Totals* totals) {
  const absl::Time start = absl::Now();
  policy_->ZeroGradients();
  std::vector<float> values, entropies;
  for (const MicroBatch& micro : PackMicroBatches(batch.sequences, minibatch.trained, policy_->micro_batch_rule())) {
    policy_->model().Forward(micro.packed, options_.temperature, /*keep=*/true, &values, &entropies);
    KeepStart(batch, micro, values, entropies, totals);
    LossGradient(batch, minibatch, micro, &values, &entropies, totals);
    policy_->model().Backward(values, entropies, policy_->gradients());
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
  start_logprobs_.assign(batch.samples.size(), {});
  reference_logprobs_.assign(batch.samples.size(), {});
  Totals totals;
  EstimateAdvantages(batch, &totals);
  std::vector<Minibatch> minibatches;
  std::vector<int32_t> ahead;  // log-probs to be had before the first update
  for (int m = 0; m < options_.minibatches; ++m) {
    minibatches.push_back(MakeMinibatch(batch, m));
    const Minibatch& minibatch = minibatches.back();
    totals.loss_tokens += minibatch.extent.tokens;
    if (m > 0) ahead.insert(ahead.end(), minibatch.trained.begin(), minibatch.trained.end());
    ahead.insert(ahead.end(), minibatch.others.begin(), minibatch.others.end());
    if (reference_ != nullptr && !options_.kl_in_reward()) ReferenceLogProbs(batch, minibatch.trained, &totals);
  }
  std::erase_if(ahead, [&](int32_t i) { return !start_logprobs_[static_cast<size_t>(i)].empty(); });
  StartLogProbs(batch, ahead, &totals);
  for (size_t m = 0; m < minibatches.size(); ++m) {
    if (minibatches[m].trained.empty()) continue;
    Train(batch, minibatches[m], first_optimizer_step + static_cast<int64_t>(m), &totals);
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
      difference_max = std::max(difference_max, Difference(start_logprobs_[i][t], rollout[t]));
    }
    compared += static_cast<int64_t>(rollout.size());
  }
  const LossTotals& loss = totals.loss;
  const double trained = static_cast<double>(loss.tokens);
  const double in_loss = static_cast<double>(totals.loss_tokens);
  const double attempts = totals.updates + totals.skipped;
  std::map<std::string, double> metrics = {
      {"actor/pg_loss", loss.policy_loss / options_.minibatches},
      {"actor/entropy", Ratio(totals.entropy, static_cast<double>(totals.entropy_tokens))},
      {"actor/grad_norm", Ratio(totals.gradient_norm, totals.updates)},
      {"actor/pg_clipfrac", Ratio(static_cast<double>(loss.clipped_low + loss.clipped_high), in_loss)},
      {"actor/pg_clipfrac_lower", Ratio(static_cast<double>(loss.clipped_low), in_loss)},
      {"actor/pg_clipfrac_higher", Ratio(static_cast<double>(loss.clipped_high), in_loss)},
      {"actor/ppo_kl", Ratio(loss.log_ratio, trained)},
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
      {"rollout/staleness_mean", Ratio(static_cast<double>(batch.staleness), static_cast<double>(batch.tokens))},
      {"rollout/staleness_max", static_cast<double>(batch.staleness_max)},
      {"rollout/logprob_diff_max", difference_max},
      {"rollout/compared_tokens", static_cast<double>(compared)},
      {"time/forward", totals.forward_seconds},
      {"time/update", totals.train_seconds},
  };
  if (attempts > 0) metrics["actor/lr"] = totals.learning_rate;
  if (loss.tokens > 0) {
    metrics["actor/ratio_mean"] = loss.ratio / trained;
    metrics["actor/ratio_min"] = loss.ratio_min;
    metrics["actor/ratio_max"] = loss.ratio_max;
  }
  if (options_.objective.policy.dual > 0) {
    metrics["actor/pg_clipfrac_dual"] = Ratio(static_cast<double>(loss.clipped_dual), in_loss);
  }
  if (reference_ != nullptr && options_.kl_in_reward()) {
    metrics["actor/reward_kl_penalty"] = Ratio(totals.reward_kl, in_loss);
  } else if (reference_ != nullptr) {
    metrics["actor/kl_loss"] = loss.kl_loss / options_.minibatches;
  }
  AddAdvantages(batch, advantages_, &metrics);
  AddOffPolicyRatios(batch, start_logprobs_, &metrics);
  if (!options_.objective.corrections.empty() && loss.tokens > 0) AddCorrections(loss, &metrics);
  return metrics;
}

}  // namespace hone::learner
