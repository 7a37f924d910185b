#include "learner/memory_plan.h"

#include <gtest/gtest.h>

#include "learner/packing.h"
#include "learner/policy.h"
#include "learner/testing/tiny_world.h"
#include "model/memory_plan.h"

namespace hone::learner {
namespace {

v1::RunSpec SupervisedRun(int batch_size, int max_tokens) {
  v1::RunSpec spec;
  v1::SftStage* sft = spec.add_stages()->mutable_sft();
  sft->set_batch_size(batch_size);
  sft->set_max_tokens(max_tokens);
  return spec;
}

v1::RunSpec RlRun(int prompts, int samples, int minibatches) {
  v1::RunSpec spec;
  v1::RlStage* rl = spec.add_stages()->mutable_rl();
  rl->set_prompts_per_step(prompts);
  rl->set_group_size(samples);
  rl->set_minibatches(minibatches);
  rl->set_max_prompt_tokens(20);
  rl->mutable_sampling()->set_max_new_tokens(12);
  return spec;
}

LearnerMemory Plan(const v1::RunSpec& spec, const model::ModelConfig& config) {
  return PlanLearnerMemory(spec, spec.stages(0), config, 2);
}

TEST(LearnerMemoryTest, StatesFollowTheParameters) {
  const model::ModelConfig config = TinyConfig();
  const int64_t one = config.parameter_count() * 4;
  v1::RunSpec spec = SupervisedRun(4, 33);
  const LearnerMemory memory = Plan(spec, config);
  EXPECT_EQ(memory.masters, one);
  EXPECT_EQ(memory.gradients, one);
  EXPECT_EQ(memory.moments, 2 * one);
  EXPECT_EQ(memory.published, 2 * one);
  EXPECT_EQ(memory.reference, 0);
  EXPECT_EQ(memory.compute_weights, model::PlanComputeWeights(config, kernels::DType::kF32, true).total());
  spec.mutable_numerics()->set_dtype(v1::DTYPE_BF16);
  EXPECT_LT(Plan(spec, config).published, memory.published);
  EXPECT_LT(Plan(spec, config).compute_weights, memory.compute_weights);

  v1::RunSpec other;
  other.add_stages()->mutable_export_();
  EXPECT_EQ(Plan(other, config).total(), 2 * one);  // masters and what is served
}

TEST(LearnerMemoryTest, TheLargestMicroBatchIsThatOfPacking) {
  model::ModelConfig config = TinyConfig();  // context 64
  EXPECT_EQ(Plan(SupervisedRun(4, 33), config).micro_batch_tokens, 4 * 32);
  EXPECT_EQ(Plan(SupervisedRun(4, 0), config).micro_batch_tokens, 4 * 63);
  EXPECT_EQ(Plan(SupervisedRun(4, 500), config).micro_batch_tokens, 4 * 63);
  EXPECT_EQ(Plan(RlRun(8, 4, 1), config).micro_batch_tokens, 32 * 31);
  EXPECT_EQ(Plan(RlRun(8, 4, 3), config).micro_batch_tokens, 3 * 4 * 31);  // 8 groups in 3: the largest has 3
  // More than the budget: what packing makes of sequences of that length is never more than is planned.
  const int64_t budget = MicroBatchTokenBudget(static_cast<size_t>(model::ActivationBytesPerToken(config)));
  EXPECT_EQ(Plan(SupervisedRun(100'000, 0), config).micro_batch_tokens, budget);
  config.max_positions = static_cast<int32_t>(budget) * 2;
  EXPECT_EQ(Plan(SupervisedRun(4, 0), config).micro_batch_tokens, budget * 2 - 1) << "one longer than the budget";
}

TEST(LearnerMemoryTest, KnobsTakeLess) {
  model::ModelConfig config = TinyConfig();
  config.layers = 8;  // of which recompute keeps less
  const int64_t one = config.parameter_count() * 4;
  v1::RunSpec spec = SupervisedRun(100'000, 33);  // more than a budget
  const LearnerMemory plain = Plan(spec, config);
  spec.mutable_memory()->set_recompute(v1::RECOMPUTE_MLP);
  const LearnerMemory mlp = Plan(spec, config);
  spec.mutable_memory()->set_recompute(v1::RECOMPUTE_LAYER);
  const LearnerMemory layer = Plan(spec, config);
  EXPECT_EQ(mlp.micro_batch_tokens, plain.micro_batch_tokens) << "the same batches: no trace";
  EXPECT_EQ(layer.micro_batch_tokens, plain.micro_batch_tokens);
  EXPECT_LT(mlp.activations, plain.activations);
  EXPECT_LT(layer.activations, mlp.activations);
  spec.mutable_memory()->set_micro_batch_tokens(320);
  EXPECT_EQ(Plan(spec, config).micro_batch_tokens, 320);
  EXPECT_LT(Plan(spec, config).activations, layer.activations);
  spec.mutable_memory()->set_micro_batch_tokens(10);
  EXPECT_EQ(Plan(spec, config).micro_batch_tokens, 32) << "one sequence";

  v1::OptimizerSpec& optimizer = *spec.mutable_stages(0)->mutable_sft()->mutable_optimizer();
  optimizer.set_moments(v1::MOMENT_FORMAT_BF16);
  EXPECT_EQ(Plan(spec, config).moments, one);
  optimizer.set_moments(v1::MOMENT_FORMAT_FP8);
  EXPECT_LT(Plan(spec, config).moments, one * 6 / 10);
  // What a stage may hold beside: hidden keys, and with sums apart the tied embeddings' gradients.
  const int64_t before = Plan(spec, config).activations;
  spec.mutable_stages(0)->mutable_sft()->mutable_repetition_dropout()->set_probability(0.5);
  EXPECT_EQ(Plan(spec, config).activations, before + 32 * 4);
  spec.mutable_numerics()->set_micro_batch_invariant(true);
  EXPECT_EQ(Plan(spec, config).activations, before + 32 * 4 + int64_t{config.vocab_size} * config.hidden_size * 4);
}

TEST(LearnerMemoryTest, WholeUnitsAreNotCut) {
  model::ModelConfig config = TinyConfig();
  v1::RunSpec spec = RlRun(8, 4, 1);  // prompts of 20 at most, completions of 12
  spec.mutable_memory()->set_micro_batch_tokens(40);
  EXPECT_EQ(Plan(spec, config).micro_batch_tokens, 40);
  spec.mutable_numerics()->set_micro_batch_invariant(true);
  const int64_t planned = Plan(spec, config).micro_batch_tokens;
  EXPECT_EQ(planned, 20 + 4 * 12);
  // A group as long as it may be, as packing lays it.
  std::vector<TrainingSequence> group(4);
  for (size_t s = 0; s < group.size(); ++s) {
    group[s].group = 1;
    group[s].tokens.assign(20, 5);
    for (int32_t i = 0; i < 12; ++i) {
      group[s].targets.push_back(20 + i);
      group[s].tokens.push_back(static_cast<int32_t>(s));
    }
  }
  const auto batches =
      PackMicroBatches(group, std::vector<int32_t>{0, 1, 2, 3}, {.token_budget = 40, .whole_units = true});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_LE(static_cast<int64_t>(batches[0].packed.tokens.size()), planned);
  EXPECT_GE(static_cast<int64_t>(batches[0].packed.tokens.size()), planned - 5);
}

TEST(LearnerMemoryTest, AReferenceModelIsCountedWhereThereIsOne) {
  const model::ModelConfig config = TinyConfig();
  v1::RunSpec spec = RlRun(8, 4, 2);
  const LearnerMemory without = Plan(spec, config);
  spec.mutable_stages(0)->mutable_rl()->mutable_algorithm()->set_kl_coefficient(0.01);
  const LearnerMemory with = Plan(spec, config);
  EXPECT_GT(with.reference, model::PlanComputeWeights(config, kernels::DType::kF32, false).total());
  EXPECT_EQ(with.total() - with.reference, without.total());
}

TEST(LearnerMemoryTest, AStepHoldsNoMoreThanIsPlanned) {
  const model::ModelConfig config = TinyConfig();
  const auto kernels = kernels::KernelContext::Create(2);
  LoadedModel loaded{.config = config, .masters = model::RandomParameters(config, 3)};
  Policy policy(*kernels, std::move(loaded), {});
  // As long as they may be, and just beyond whole pages: the case that is planned for.
  std::vector<TrainingSequence> sequences(4);
  std::vector<int32_t> order;
  for (int32_t i = 0; i < 4; ++i) {
    sequences[i].tokens.assign(34, 5);
    for (int32_t p = 1; p < 34; ++p) sequences[i].targets.push_back(p);
    order.push_back(i);
  }
  const auto batches = PackMicroBatches(sequences, order, policy.micro_batch_rule());
  ASSERT_EQ(batches.size(), 1u);
  const LearnerMemory memory = Plan(SupervisedRun(4, 34), config);
  EXPECT_EQ(static_cast<int64_t>(batches[0].packed.tokens.size()), memory.micro_batch_tokens);
  std::vector<float> logprobs, entropies;
  policy.model().Forward(batches[0].packed, 1.0f, /*keep=*/true, &logprobs, &entropies);
  policy.model().Backward(logprobs, {}, policy.gradients());
  EXPECT_EQ(static_cast<int64_t>(policy.model().size_bytes()), memory.activations);
}

}  // namespace
}  // namespace hone::learner
