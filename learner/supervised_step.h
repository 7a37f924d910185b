// One supervised step: rows in, one optimizer update on the mean negative log-likelihood of their loss tokens out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "learner/packing.h"
#include "learner/policy.h"
#include "learner/repetition_dropout.h"

namespace hone::learner {

// Metrics under the names of docs/metrics.md. `optimizer_step` is 1-based. `dropout_key`: of this step, for the draws
// of `dropout`.
std::map<std::string, double> SupervisedStep(Policy* policy, const std::vector<TrainingSequence>& sequences,
                                             int64_t optimizer_step, const RepetitionDropout& dropout = {},
                                             uint64_t dropout_key = 0);

}  // namespace hone::learner
