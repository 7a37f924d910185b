// Groups as rollout workers would hand them in: tokens drawn from a counter, log-probs of the model itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hone/v1/trajectory.pb.h"
#include "model/model.h"

namespace hone::learner {

struct FakeRolloutOptions {
  int groups = 4;
  int group_size = 4;
  int64_t version = 0;
  std::string root_hash;
  uint64_t stream = 0;  // what the tokens are a function of
  float temperature = 1;
  int prompt_tokens = 0;  // 0: 2 or 3
};

// Completions of 1 to 6 tokens after short prompts; the reward counts tokens below a bound, so that groups differ.
// Each sequence's log-probs are computed alone, by InferenceModel, token by token through the paged cache.
std::vector<v1::Group> FakeRollout(const kernels::KernelContext& context, const model::ComputeWeights& weights,
                                   const FakeRolloutOptions& options);

}  // namespace hone::learner
