// Importance ratios between two policies, of a token or of a sequence.
#pragma once

#include <span>

namespace hone::learner {

enum class RatioLevel {
  kToken,            // r_t = pi / pi_old
  kSequenceMean,     // s = (product of r_t)^(1/T), the same for every token (GSPO, arXiv:2507.18071 eq. 7)
  kSequenceProduct,  // product of r_t (RLOO, arXiv:2402.14740)
};

// exp(log_ratio), the exponent limited to +-20 so that it stays finite (as verl does); exactly 1 for 0.
double BoundedExp(double log_ratio);

// The ratio that each token of a sequence has. `logprobs` and `old_logprobs` are of equal length; `ratios` gets that
// many.
//
// A sequence's ratio s is used as GSPO's token form (its eq. 14): s_t = sg[s] pi_t / sg[pi_t], so that for every level
// d s_t / d log pi_t = s_t.
void ImportanceRatios(RatioLevel level, std::span<const float> logprobs, std::span<const float> old_logprobs,
                      std::span<double> ratios);

}  // namespace hone::learner
