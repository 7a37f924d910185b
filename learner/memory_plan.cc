#include "learner/memory_plan.h"

#include <algorithm>

#include "hone/v1/run.pb.h"
#include "learner/policy_options.h"
#include "model/memory_plan.h"

namespace hone::learner {
namespace {

using kernels::DType;
using model::ModelConfig;
using model::TrainingBatch;

// Sequences that one pass may see, and the longest of them in tokens.
struct Load {
  int64_t sequences = 0;
  int64_t longest = 0;
  int64_t unit = 0;  // tokens of the largest unit of packing, where sequences share rows
  bool masked_keys = false;
};

int64_t Limited(int64_t limit, int64_t positions) { return limit > 0 ? std::min(limit, positions) : positions; }

Load SupervisedLoad(const v1::SftStage& stage, const ModelConfig& config) {
  return {.sequences = stage.batch_size(),
          .longest = Limited(stage.max_tokens(), config.max_positions),
          .masked_keys = stage.repetition_dropout().probability() > 0};
}

// Of one minibatch: groups are split in order, so the largest has one group more than the smallest.
Load RlLoad(const v1::RlStage& stage, const ModelConfig& config) {
  const int64_t minibatches = std::max(1, stage.minibatches());
  const int64_t groups = (int64_t{stage.prompts_per_step()} + minibatches - 1) / minibatches;
  const int64_t positions = config.max_positions;
  const int64_t longest =
      stage.max_prompt_tokens() > 0
          ? std::min<int64_t>(positions, int64_t{stage.max_prompt_tokens()} + stage.sampling().max_new_tokens())
          : positions;
  // A group's prompt is laid once. Where its length is not known, each sample as long as it may be.
  const int64_t unit = stage.max_prompt_tokens() > 0
                           ? stage.max_prompt_tokens() + int64_t{stage.group_size()} * stage.sampling().max_new_tokens()
                           : int64_t{stage.group_size()} * longest;
  return {.sequences = groups * stage.group_size(), .longest = longest, .unit = unit};
}

// The largest micro-batch that PackMicroBatches can make of `load`. The last token of a sequence is not fed; all others
// may predict.
TrainingBatch LargestMicroBatch(const Load& load, const MicroBatchRule& rule) {
  const int64_t fed = std::max<int64_t>(1, load.longest - 1);
  const int64_t alone = rule.whole_units ? std::max(load.unit, fed) : fed;
  const int64_t rows = std::min(load.sequences * fed, std::max(rule.token_budget, alone));
  return {.rows = rows,
          .predicted = rows,
          .sequences = std::min(load.sequences, rows),
          .sums_apart = rule.whole_units,
          .masked_keys = load.masked_keys};
}

const v1::OptimizerSpec& OptimizerOf(const v1::StageSpec& stage) {
  if (stage.has_pretrain()) return stage.pretrain().optimizer();
  return stage.has_sft() ? stage.sft().optimizer() : stage.rl().optimizer();
}

}  // namespace

LearnerMemory PlanLearnerMemory(const v1::RunSpec& spec, const v1::StageSpec& stage, const ModelConfig& config,
                                int threads) {
  const DType dtype = spec.numerics().dtype() == v1::DTYPE_BF16 ? DType::kBf16 : DType::kF32;
  LearnerMemory memory;
  memory.masters = model::FlatTensorBytes(config);
  memory.published = model::WeightVersionBytes(config, dtype);
  const bool supervised = stage.has_pretrain() || stage.has_sft();
  if (!supervised && !stage.has_rl()) return memory;

  const bool behind = stage.rl().mode() == v1::RL_MODE_ONE_STEP_OFF;
  memory.published *= behind ? 3 : 2;
  memory.compute_weights = model::PlanComputeWeights(config, dtype, /*for_training=*/true).total();
  memory.gradients = memory.masters;
  const PolicyOptions options = MakePolicyOptions(spec, OptimizerOf(stage), 1);
  memory.moments = 2 * Moments::Bytes(config, options.optimizer.moments);
  // The copies, and in one_step_off the version before in fp32: one to copy from, one copied.
  if (behind) memory.checkpoint = memory.masters;
  if (spec.checkpoints().asynchronous()) {
    memory.checkpoint += memory.masters + memory.moments + (behind ? memory.masters : 0);
  }
  const Load load = supervised ? SupervisedLoad(stage.has_pretrain() ? stage.pretrain() : stage.sft(), config)
                               : RlLoad(stage.rl(), config);
  const MicroBatchRule rule = MicroBatchRuleOf(options, config);
  const TrainingBatch kept = LargestMicroBatch(load, rule);
  TrainingBatch plain;
  if (stage.has_rl()) {
    // Old log-probs of later minibatches and of samples without a gradient, all of them at once.
    const Load all = {.sequences = int64_t{stage.rl().prompts_per_step()} * stage.rl().group_size(),
                      .longest = load.longest,
                      .unit = load.unit};
    plain = LargestMicroBatch(all, rule);
  }
  memory.micro_batch_tokens = kept.rows;
  memory.activations = model::TrainingModelBytes(config, dtype, kept, plain, options.recompute);
  memory.scratch =
      model::TrainingScratchBytes(config, dtype, plain.rows > kept.rows ? plain : kept, load.longest, threads);
  if (stage.has_rl() && stage.rl().algorithm().kl_coefficient() > 0) {
    // With the KL in the reward it runs over the whole step at once.
    const v1::KlPlacement placement = stage.rl().algorithm().kl_placement();
    const bool ahead = placement == v1::KL_PLACEMENT_SEQUENCE_REWARD || placement == v1::KL_PLACEMENT_TOKEN_REWARD;
    memory.reference = model::PlanComputeWeights(config, dtype, /*for_training=*/false).total() +
                       model::TrainingModelBytes(config, dtype, {}, ahead ? plain : kept);
  }
  return memory;
}

}  // namespace hone::learner
