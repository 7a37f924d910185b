// One reinforcement learning step: a batch of groups in, one optimizer update a minibatch out (GRPO, arXiv:2402.03300,
// with the variants of algorithms/).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "learner/policy.h"
#include "learner/rl_batch.h"

namespace hone::learner {

// Frozen weights for the KL term: the stage's start, or the policy of an earlier step.
class ReferenceModel {
 public:
  ReferenceModel(const kernels::KernelContext& context, const LoadedModel& loaded, kernels::DType dtype);
  // Takes other weights of the same model.
  void Become(const model::FlatTensor& masters) { weights_.LoadAll(masters); }
  model::TrainingModel& model() { return model_; }

 private:
  model::ComputeWeights weights_;
  model::TrainingModel model_;
};

// Where the log-probs of a batch are kept: one row of floats per sample, one float per target.
using SampleValues = std::vector<std::vector<float>>;

// One row of advantages per sample of the batch, one per target. `kl` is that of each token where it is in the reward,
// else empty.
std::vector<std::vector<double>> AdvantagesOf(const RlBatch& batch, const RlOptions& options,
                                              const std::vector<std::vector<double>>& kl);

// Runs steps on a policy. Not thread-safe; policy and reference must outlive it.
//
// The batch's groups are split in order into minibatches. Log-probs of the weights at the step's start (at the
// rollout's temperature) come, for the first minibatch, from its training forward pass itself, for the others from a
// forward pass before the first update. So every sampled token of the batch gets its log-prob at the rollout's weights,
// and on-policy ones are compared with rollout_logprobs bit for bit. A KL in the reward, and so in the advantages, is
// needed before: on-policy samples take the rollout's log-probs for it, which are those that the forward pass will
// give; the others a forward pass ahead.
//
// Sequences whose loss has no gradient (advantages 0 without KL or entropy term, or out of the loss) run forward only.
// A minibatch with none that has one makes no update: neither weights nor moments move.
class RlStep {
 public:
  RlStep(Policy* policy, ReferenceModel* reference, const RlOptions& options);
  // Metrics under the names of docs/metrics.md. `first_optimizer_step` (1-based) is the schedule's place of the first
  // minibatch.
  std::map<std::string, double> Run(const RlBatch& batch, int64_t first_optimizer_step);

 private:
  struct Totals;
  struct Minibatch;
  Minibatch MakeMinibatch(const RlBatch& batch, int index) const;
  // Fills advantages_; where the KL is in the reward, after forward passes of the reference, and of the policy for what
  // is not on-policy.
  void EstimateAdvantages(const RlBatch& batch, Totals* totals);
  // Forward passes alone, over the sequences of `order`.
  void StartLogProbs(const RlBatch& batch, const std::vector<int32_t>& order, Totals* totals);
  void ReferenceLogProbs(const RlBatch& batch, const std::vector<int32_t>& order, Totals* totals);
  // What a forward pass of the policy gave: log-probs of the step's start for the members that have none yet.
  void KeepStart(const RlBatch& batch, const MicroBatch& micro, std::span<const float> logprobs,
                 std::span<const float> entropies, Totals* totals);
  void Train(const RlBatch& batch, const Minibatch& minibatch, int64_t optimizer_step, Totals* totals);
  // Replaces a micro-batch's log-probs and entropies by the loss's derivatives with respect to them; entropies are
  // emptied where the loss has none.
  void LossGradient(const RlBatch& batch, const Minibatch& minibatch, const MicroBatch& micro,
                    std::vector<float>* logprobs, std::vector<float>* entropies, Totals* totals);
  std::map<std::string, double> Metrics(const RlBatch& batch, const Totals& totals) const;

  Policy* policy_;
  ReferenceModel* reference_;
  const RlOptions options_;
  SampleValues start_logprobs_, reference_logprobs_;
  std::vector<std::vector<double>> advantages_;
};

}  // namespace hone::learner
