#include "coordinator/run_config/algorithm_presets.h"

namespace hone::internal {
namespace {

// DeepSeekMath, arXiv:2402.03300: clip 0.2, KL 0.04 by k3 in the loss, mean over a sequence's tokens first.
void Grpo(v1::AlgorithmSpec* s) {
  s->set_aggregation(v1::LOSS_AGGREGATION_SEQUENCE_MEAN_TOKEN_MEAN);
  s->set_kl_coefficient(0.04);
}

// arXiv:2503.20783: neither the deviation nor the length of a sequence divides.
void DrGrpo(v1::AlgorithmSpec* s) {
  s->set_advantage_normalization(v1::ADVANTAGE_NORMALIZATION_NONE);
  s->set_aggregation(v1::LOSS_AGGREGATION_CONSTANT);
}

// arXiv:2503.14476: clip-higher, the mean over tokens, dynamic sampling.
void Dapo(v1::AlgorithmSpec* s) {
  s->set_clip_low(0.2);
  s->set_clip_high(0.28);
  s->mutable_dynamic_sampling();
}

// arXiv:2507.18071, section 5.1.
void Gspo(v1::AlgorithmSpec* s) {
  s->set_ratio(v1::RATIO_LEVEL_SEQUENCE_MEAN);
  s->set_clip_low(3e-4);
  s->set_clip_high(4e-4);
  s->set_aggregation(v1::LOSS_AGGREGATION_SEQUENCE_MEAN_TOKEN_MEAN);
}

// arXiv:2506.13585: bounded from above only; the bound of ScaleRL (arXiv:2510.13786), a ratio of 5.
void Cispo(v1::AlgorithmSpec* s) {
  s->set_policy_loss(v1::POLICY_LOSS_CISPO);
  s->set_clip_low(1);
  s->set_clip_high(4);
}

// arXiv:2402.14740: the whole completion is one action, the KL part of its reward.
void Rloo(v1::AlgorithmSpec* s) {
  s->set_baseline(v1::ADVANTAGE_BASELINE_LEAVE_ONE_OUT);
  s->set_advantage_normalization(v1::ADVANTAGE_NORMALIZATION_NONE);
  s->set_ratio(v1::RATIO_LEVEL_SEQUENCE_PRODUCT);
  s->set_aggregation(v1::LOSS_AGGREGATION_SEQUENCE_MEAN_TOKEN_SUM);
  s->set_kl_placement(v1::KL_PLACEMENT_SEQUENCE_REWARD);
  s->set_kl_coefficient(0.03);
}

// arXiv:2501.03262: no group at all; returns of tokens, whitened over the step.
void ReinforcePlusPlus(v1::AlgorithmSpec* s) {
  s->set_baseline(v1::ADVANTAGE_BASELINE_NONE);
  s->set_advantage_normalization(v1::ADVANTAGE_NORMALIZATION_WHITEN);
  s->set_kl_placement(v1::KL_PLACEMENT_TOKEN_REWARD);
  s->set_kl_coefficient(0.01);
}

// The same with the group's mean as baseline and the KL in the loss.
void ReinforcePlusPlusBaseline(v1::AlgorithmSpec* s) {
  s->set_advantage_normalization(v1::ADVANTAGE_NORMALIZATION_WHITEN);
  s->set_kl_estimator(v1::KL_ESTIMATOR_K2);
  s->set_kl_coefficient(0.01);
}

}  // namespace

v1::AlgorithmSpec PresetSettings(v1::AlgorithmPreset preset) {
  v1::AlgorithmSpec settings;
  switch (preset) {
    case v1::ALGORITHM_PRESET_GRPO:
      Grpo(&settings);
      break;
    case v1::ALGORITHM_PRESET_DR_GRPO:
      DrGrpo(&settings);
      break;
    case v1::ALGORITHM_PRESET_DAPO:
      Dapo(&settings);
      break;
    case v1::ALGORITHM_PRESET_GSPO:
      Gspo(&settings);
      break;
    case v1::ALGORITHM_PRESET_CISPO:
      Cispo(&settings);
      break;
    case v1::ALGORITHM_PRESET_RLOO:
      Rloo(&settings);
      break;
    case v1::ALGORITHM_PRESET_REINFORCE_PLUS_PLUS:
      ReinforcePlusPlus(&settings);
      break;
    case v1::ALGORITHM_PRESET_REINFORCE_PLUS_PLUS_BASELINE:
      ReinforcePlusPlusBaseline(&settings);
      break;
    default:
      break;
  }
  return settings;
}

}  // namespace hone::internal
