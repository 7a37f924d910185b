#include "learner/rl_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hone/v1/trajectory.pb.h"
#include "learner/testing/fake_rollout.h"
#include "learner/testing/tiny_world.h"

namespace hone::learner {
namespace {

using MetricMap = std::map<std::string, double>;

model::FlatTensor Copy(const model::FlatTensor& tensor) {
  model::FlatTensor copy(tensor.size());
  std::copy_n(tensor.data(), tensor.size(), copy.data());
  return copy;
}

class RlStepTest : public testing::Test {
 protected:
  std::vector<v1::Group> Rollout(const model::FlatTensor& masters, kernels::DType dtype) {
    model::ComputeWeights weights(*kernels_, config_, dtype, /*for_training=*/false);
    weights.LoadAll(masters);
    return FakeRollout(*kernels_, weights,
                       {.groups = 6, .group_size = 4, .version = 3, .temperature = options_.temperature});
  }
  RlBatch Batch(const std::vector<v1::Group>& groups) {
    auto batch = BuildRlBatch(groups, options_, 3, config_.vocab_size, config_.max_positions);
    EXPECT_TRUE(batch.ok()) << batch.status().ToString();
    return *std::move(batch);
  }
  std::unique_ptr<Policy> MakePolicy(const kernels::KernelContext& kernels, const model::FlatTensor& masters,
                                     kernels::DType dtype, double learning_rate) {
    const PolicyOptions options = {.dtype = dtype,
                                   .optimizer = {.schedule = {.peak = learning_rate}, .max_grad_norm = 0}};
    return MakePolicy(kernels, masters, options);
  }
  std::unique_ptr<Policy> MakePolicy(const kernels::KernelContext& kernels, const model::FlatTensor& masters,
                                     const PolicyOptions& options) {
    return std::make_unique<Policy>(kernels, LoadedModel{config_, Copy(masters), {}}, options);
  }

  const model::ModelConfig config_ = TinyConfig();
  const std::unique_ptr<kernels::KernelContext> kernels_ = kernels::KernelContext::Create(2);
  const model::FlatTensor start_ = model::RandomParameters(config_, 1);
  RlOptions options_{.max_new_tokens = 8};
};

TEST_F(RlStepTest, EverySampledTokenAgreesWithTheRolloutBitForBit) {
  for (const kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kBf16}) {
    for (const float temperature : {1.0f, 0.7f}) {
      for (const int minibatches : {1, 2, 4}) {
        options_.temperature = temperature;
        options_.minibatches = minibatches;
        const std::vector<v1::Group> groups = Rollout(start_, dtype);
        int64_t sampled = 0;
        for (const v1::Group& group : groups) {
          for (const v1::Trajectory& trajectory : group.trajectories()) sampled += trajectory.tokens_size();
        }
        const auto policy = MakePolicy(*kernels_, start_, dtype, 1e-2);
        RlStep step(policy.get(), nullptr, options_);
        auto metrics = step.Run(Batch(groups), 1);
        EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0);
        EXPECT_EQ(metrics.at("rollout/compared_tokens"), static_cast<double>(sampled));
        EXPECT_EQ(metrics.at("actor/updates"), minibatches);
        if (minibatches == 1) {
          EXPECT_EQ(metrics.at("actor/ratio_min"), 1);
          EXPECT_EQ(metrics.at("actor/ratio_max"), 1);
        }
      }
    }
  }
}

TEST_F(RlStepTest, OneFlippedBitOfOneWeightShows) {
  const std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  model::FlatTensor flipped = Copy(start_);
  const model::ParameterLayout layout(config_);
  const model::ParameterInfo* norm = layout.Find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  float& weight = flipped[static_cast<size_t>(norm->offset)];
  weight = std::bit_cast<float>(std::bit_cast<uint32_t>(weight) ^ 1u);  // the last bit of 1.0
  const auto policy = MakePolicy(*kernels_, flipped, kernels::DType::kF32, 0);
  RlStep step(policy.get(), nullptr, options_);
  const double difference = step.Run(Batch(groups), 1).at("rollout/logprob_diff_max");
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 1e-3);
}

TEST_F(RlStepTest, OffPolicyTrajectoriesAreNotCompared) {
  std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  for (v1::Group& group : groups) {
    for (v1::Trajectory& trajectory : *group.mutable_trajectories()) trajectory.mutable_segments(0)->set_version(2);
  }
  const auto policy = MakePolicy(*kernels_, start_, kernels::DType::kF32, 0);
  RlStep step(policy.get(), nullptr, options_);
  EXPECT_EQ(step.Run(Batch(groups), 1).at("rollout/compared_tokens"), 0);
}

// Loss of a batch by plain sums in double, old log-probs being those of the rollout.
double Loss(const kernels::KernelContext& kernels, const model::ModelConfig& config, const model::FlatTensor& masters,
            const RlBatch& batch, const RlOptions& options, const SampleValues* reference) {
  model::ComputeWeights weights(kernels, config, kernels::DType::kF32, false);
  weights.LoadAll(masters);
  model::TrainingModel model(kernels, weights);
  int64_t tokens = 0, sequences = 0;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    if (!batch.samples[i].in_loss) continue;
    ++sequences;
    tokens += static_cast<int64_t>(batch.sequences[i].targets.size());
  }
  const std::vector<std::vector<double>> advantages = AdvantagesOf(batch, options, {});
  double loss = 0;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    if (!batch.samples[i].in_loss) continue;
    const int32_t index = static_cast<int32_t>(i);
    const std::vector<MicroBatch> micro = PackMicroBatches(batch.sequences, std::span(&index, 1), {1000});
    std::vector<float> logprobs, entropies;
    model.Forward(micro[0].packed, options.temperature, false, &logprobs, &entropies);
    double sum = 0;
    for (size_t t = 0; t < logprobs.size(); ++t) {
      const double ratio = std::exp(static_cast<double>(logprobs[t]) - batch.samples[i].rollout_logprobs[t]);
      const double advantage = advantages[i][t];
      sum -=
          std::min(ratio * advantage,
                   std::clamp(ratio, 1 - options.objective.policy.low, 1 + options.objective.policy.high) * advantage);
      if (reference != nullptr) {
        const double d = static_cast<double>((*reference)[i][t]) - logprobs[t];
        sum += options.objective.kl_coefficient * (std::exp(d) - d - 1);
      }
    }
    const double length = static_cast<double>(logprobs.size());
    switch (options.objective.aggregation) {
      case LossAggregation::kTokenMean:
        loss += sum / static_cast<double>(tokens);
        break;
      case LossAggregation::kSequenceMeanTokenMean:
        loss += sum / length / static_cast<double>(sequences);
        break;
      case LossAggregation::kSequenceMeanTokenSum:
        loss += sum / static_cast<double>(sequences);
        break;
      case LossAggregation::kConstant:
        loss += sum / static_cast<double>(sequences * options.max_new_tokens);
        break;
    }
  }
  return loss;
}

TEST_F(RlStepTest, GradientIsThatOfTheLossInEveryAggregation) {
  for (const bool with_reference : {false, true}) {
    for (const LossAggregation aggregation : {LossAggregation::kTokenMean, LossAggregation::kSequenceMeanTokenMean,
                                              LossAggregation::kSequenceMeanTokenSum, LossAggregation::kConstant}) {
      options_.objective.aggregation = aggregation;
      options_.objective.kl_coefficient = with_reference ? 0.3 : 0;
      const RlBatch batch = Batch(Rollout(start_, kernels::DType::kF32));
      const auto policy =
          MakePolicy(*kernels_, start_, kernels::DType::kF32, 0);  // rate 0: the gradient stays to be seen
      std::unique_ptr<ReferenceModel> reference;
      SampleValues reference_logprobs(batch.samples.size());
      const LoadedModel other{config_, model::RandomParameters(config_, 2), {}};
      if (with_reference) {
        reference = std::make_unique<ReferenceModel>(*kernels_, other, kernels::DType::kF32);
        for (size_t i = 0; i < batch.samples.size(); ++i) {
          const int32_t index = static_cast<int32_t>(i);
          std::vector<float> entropies;
          reference->model().Forward(PackMicroBatches(batch.sequences, std::span(&index, 1), {1000})[0].packed,
                                     options_.temperature, false, &reference_logprobs[i], &entropies);
        }
      }
      RlStep step(policy.get(), reference.get(), options_);
      auto metrics = step.Run(batch, 1);
      double norm = 0;
      for (size_t i = 0; i < start_.size(); ++i) norm += std::pow((*policy->gradients())[i], 2);
      norm = std::sqrt(norm);
      ASSERT_GT(norm, 0);
      EXPECT_NEAR(metrics.at("actor/grad_norm"), norm, norm * 1e-5);
      // Along the gradient the loss must rise by its norm.
      constexpr double kStep = 2e-3;
      model::FlatTensor up = Copy(start_), down = Copy(start_);
      for (size_t i = 0; i < start_.size(); ++i) {
        const double move = kStep * (*policy->gradients())[i] / norm;
        up[i] = static_cast<float>(start_[i] + move);
        down[i] = static_cast<float>(start_[i] - move);
      }
      const SampleValues* kl = with_reference ? &reference_logprobs : nullptr;
      const double slope =
          (Loss(*kernels_, config_, up, batch, options_, kl) - Loss(*kernels_, config_, down, batch, options_, kl)) /
          (2 * kStep);
      // Central differences of an fp32 forward pass: log-probs carry about 1e-6, over a step of 2e-3.
      EXPECT_NEAR(slope, norm, norm * 0.02) << static_cast<int>(aggregation) << " " << with_reference;
      const double policy_loss = metrics.at("actor/pg_loss");
      const double kl_loss = with_reference ? options_.objective.kl_coefficient * metrics.at("actor/kl_loss") : 0;
      EXPECT_NEAR(policy_loss + kl_loss, Loss(*kernels_, config_, start_, batch, options_, kl), 1e-5);
    }
  }
}

TEST_F(RlStepTest, LaterMinibatchesAreClipped) {
  options_.minibatches = 3;
  options_.objective.policy.low = options_.objective.policy.high = 0.01;
  const auto policy = MakePolicy(*kernels_, start_, kernels::DType::kF32, 0.02);
  RlStep step(policy.get(), nullptr, options_);
  auto metrics = step.Run(Batch(Rollout(start_, kernels::DType::kF32)), 1);
  EXPECT_LT(metrics.at("actor/ratio_min"), 0.99);
  EXPECT_GT(metrics.at("actor/ratio_max"), 1.01);
  EXPECT_GT(metrics.at("actor/pg_clipfrac"), 0);
  EXPECT_DOUBLE_EQ(metrics.at("actor/pg_clipfrac"),
                   metrics.at("actor/pg_clipfrac_lower") + metrics.at("actor/pg_clipfrac_higher"));
  EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0);
}

TEST_F(RlStepTest, EqualRewardsMoveNothing) {
  std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  for (v1::Group& group : groups) {
    for (v1::Trajectory& trajectory : *group.mutable_trajectories()) trajectory.mutable_verdict()->set_reward(1);
  }
  const auto policy = MakePolicy(*kernels_, start_, kernels::DType::kF32, 1e-2);
  RlStep step(policy.get(), nullptr, options_);
  auto metrics = step.Run(Batch(groups), 1);
  EXPECT_EQ(metrics.at("actor/updates"), 0);
  EXPECT_EQ(metrics.at("train/zero_variance_groups"), 6);
  EXPECT_GT(metrics.at("rollout/compared_tokens"), 0);
  EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0);
  EXPECT_EQ(model::RootHash(config_, policy->masters()), model::RootHash(config_, start_));
}

// Every algorithm: log-probs still equal the rollout's, and what it needs beyond GRPO is there.
TEST_F(RlStepTest, EveryAlgorithmTrainsAndComparesEveryToken) {
  const LoadedModel other{config_, model::RandomParameters(config_, 2), {}};
  const std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  const auto run = [&](const char* name, int minibatches) {
    options_.minibatches = minibatches;
    const auto policy = MakePolicy(*kernels_, start_, kernels::DType::kF32, 1e-2);
    std::unique_ptr<ReferenceModel> reference;
    if (options_.has_reference()) {
      reference = std::make_unique<ReferenceModel>(*kernels_, other, kernels::DType::kF32);
    }
    RlStep step(policy.get(), reference.get(), options_);
    auto metrics = step.Run(Batch(groups), 1);
    EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0) << name;
    EXPECT_EQ(metrics.at("actor/updates"), minibatches) << name;
    EXPECT_NE(model::RootHash(config_, policy->masters()), model::RootHash(config_, start_)) << name;
    return metrics;
  };
  for (const int minibatches : {1, 3}) {
    options_ = {.max_new_tokens = 8};
    const auto grpo = run("grpo", minibatches);

    options_.objective.ratio = RatioLevel::kSequenceMean;
    EXPECT_EQ(run("gspo", minibatches).at("rollout/compared_tokens"), grpo.at("rollout/compared_tokens"));

    options_ = {.max_new_tokens = 8};
    options_.objective.policy = {.kind = PolicyLossKind::kCispo, .low = 1, .high = 4};
    run("cispo", minibatches);

    options_ = {.max_new_tokens = 8};
    options_.objective = {.ratio = RatioLevel::kSequenceProduct,
                          .kl_coefficient = 0.03,
                          .kl_estimator = KlEstimator::kK1,
                          .kl_placement = KlPlacement::kSequenceReward};
    options_.advantage = {AdvantageBaseline::kLeaveOneOut, AdvantageNormalization::kNone};
    const auto rloo = run("rloo", minibatches);
    EXPECT_NE(rloo.at("actor/reward_kl_penalty"), 0);
    EXPECT_FALSE(rloo.contains("actor/kl_loss"));

    options_.objective.ratio = RatioLevel::kToken;
    options_.objective.kl_placement = KlPlacement::kTokenReward;
    options_.advantage = {AdvantageBaseline::kNone, AdvantageNormalization::kWhiten};
    const auto reinforce = run("reinforce++", minibatches);
    EXPECT_NEAR(reinforce.at("critic/advantages/mean"), 0, 1e-9);

    options_ = {.max_new_tokens = 8};
    options_.objective.corrections = {{CorrectionLevel::kToken, CorrectionMode::kTruncate, 0, 2}};
    const auto corrected = run("tis", minibatches);
    EXPECT_EQ(corrected.at("rollout_corr/weight_min"), 1) << "on policy the weights are 1";
    EXPECT_EQ(corrected.at("rollout_corr/effective_sample_size"), 1);
    EXPECT_EQ(corrected.at("actor/grad_norm"), grpo.at("actor/grad_norm"));
  }
}

// A KL in the reward takes the rollout's log-probs of on-policy samples for those of the step's start, without a
// forward pass of its own: where their bits are equal, that leaves no trace.
TEST_F(RlStepTest, RewardKlOfOnPolicySamplesIsThatOfAForwardPass) {
  options_.objective = {.kl_coefficient = 0.05, .kl_placement = KlPlacement::kTokenReward};
  ReferenceModel reference(*kernels_, LoadedModel{config_, model::RandomParameters(config_, 2), {}},
                           kernels::DType::kF32);
  const std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  for (const int minibatches : {1, 2}) {
    options_.minibatches = minibatches;
    std::string hash;
    MetricMap first;
    for (const size_t off_policy : {0, 3, 6}) {  // groups whose samples say that other weights drew them
      std::vector<v1::Group> marked = groups;
      for (size_t g = 0; g < off_policy; ++g) {
        for (v1::Trajectory& trajectory : *marked[g].mutable_trajectories())
          trajectory.mutable_segments(0)->set_version(2);
      }
      const auto policy = MakePolicy(*kernels_, start_, kernels::DType::kF32, 1e-2);
      RlStep step(policy.get(), &reference, options_);
      const MetricMap metrics = step.Run(Batch(marked), 1);
      if (hash.empty()) {
        hash = model::RootHash(config_, policy->masters());
        first = metrics;
      }
      EXPECT_EQ(model::RootHash(config_, policy->masters()), hash) << off_policy << " groups off-policy";
      EXPECT_EQ(metrics.at("actor/reward_kl_penalty"), first.at("actor/reward_kl_penalty"));
      EXPECT_NEAR(metrics.at("actor/entropy"), first.at("actor/entropy"), 1e-9) << "each token counts once";
      EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0);
      EXPECT_EQ(metrics.contains("off_policy/ratio_mean"), off_policy > 0);
    }
    EXPECT_NE(first.at("actor/reward_kl_penalty"), 0);
    EXPECT_NE(hash, model::RootHash(config_, start_));
  }
}

// The entropy's share of the gradient, alone: rewards are equal, so that no advantage moves anything.
TEST_F(RlStepTest, AnEntropyBonusRaisesTheEntropy) {
  std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  for (v1::Group& group : groups) {
    for (v1::Trajectory& trajectory : *group.mutable_trajectories()) trajectory.mutable_verdict()->set_reward(1);
  }
  options_.objective.entropy_coefficient = 1;
  const auto policy = MakePolicy(*kernels_, start_, kernels::DType::kF32, 1e-2);
  RlStep step(policy.get(), nullptr, options_);
  const RlBatch batch = Batch(groups);
  const double before = step.Run(batch, 1).at("actor/entropy");
  for (int i = 2; i < 6; ++i) step.Run(batch, i);
  EXPECT_GT(step.Run(batch, 6).at("actor/entropy"), before);
}

// Groups that share a prompt, trained in micro-batches of any size, with anything computed again: one result, and every
// log-prob that of the rollout.
TEST_F(RlStepTest, NeitherMicroBatchesNorRecomputationLeaveATrace) {
  options_.objective.kl_coefficient = 0.1;
  options_.objective.entropy_coefficient = 0.01;
  for (const kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kBf16}) {
    model::ComputeWeights weights(*kernels_, config_, dtype, /*for_training=*/false);
    weights.LoadAll(start_);
    const std::vector<v1::Group> groups = FakeRollout(
        *kernels_, weights, {.groups = 6, .group_size = 4, .version = 3, .temperature = 1, .prompt_tokens = 25});
    ReferenceModel reference(*kernels_, LoadedModel{config_, model::RandomParameters(config_, 7), {}}, dtype);
    const auto hash = [&](const PolicyOptions& options, double* compared) {
      const auto policy = MakePolicy(*kernels_, start_, options);
      RlStep step(policy.get(), &reference, options_);
      const auto metrics = step.Run(Batch(groups), 1);
      EXPECT_EQ(metrics.at("rollout/logprob_diff_max"), 0);
      EXPECT_EQ(metrics.at("actor/updates"), 1);
      *compared = metrics.at("rollout/compared_tokens");
      EXPECT_GT(metrics.at("train/shared_tokens"), 0);
      return model::RootHash(config_, policy->masters());
    };
    PolicyOptions options = {.dtype = dtype, .optimizer = {.schedule = {.peak = 1e-2}}, .micro_batch_invariant = true};
    std::string expected;
    for (const model::Recompute recompute :
         {model::Recompute::kNone, model::Recompute::kMlp, model::Recompute::kLayer}) {
      for (const int64_t tokens : {1, 90, 150, 100'000}) {
        options.recompute = recompute;
        options.micro_batch_tokens = tokens;
        double compared = 0;
        const std::string found = hash(options, &compared);
        if (expected.empty()) expected = found;
        EXPECT_EQ(found, expected) << tokens << " tokens";
        EXPECT_GT(compared, 24);
      }
    }
    // The rule is what does it: without it the sums of several micro-batches are others.
    options.micro_batch_invariant = false;
    double compared = 0;
    options.micro_batch_tokens = 90;
    const std::string few = hash(options, &compared);
    options.micro_batch_tokens = 100'000;
    EXPECT_NE(hash(options, &compared), few);
  }
}

TEST_F(RlStepTest, ThreadsLeaveNoTrace) {
  options_.minibatches = 2;
  const std::vector<v1::Group> groups = Rollout(start_, kernels::DType::kF32);
  std::vector<std::string> hashes;
  for (const int threads : {1, 2, 3}) {
    const auto kernels = kernels::KernelContext::Create(threads);
    const auto policy = MakePolicy(*kernels, start_, kernels::DType::kF32, 1e-2);
    RlStep step(policy.get(), nullptr, options_);
    step.Run(Batch(groups), 1);
    hashes.push_back(model::RootHash(config_, policy->masters()));
  }
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_EQ(hashes[0], hashes[2]);
  EXPECT_NE(hashes[0], model::RootHash(config_, start_));
}

}  // namespace
}  // namespace hone::learner
