// Presets, defaults and checks of an rl stage's algorithm.
#include <cmath>

#include "base/status.h"
#include "coordinator/run_config/algorithm_presets.h"
#include "coordinator/run_config/checks.h"

namespace hone::internal {
namespace {

bool IsWhitening(v1::AdvantageNormalization normalization) {
  return normalization == v1::ADVANTAGE_NORMALIZATION_WHITEN ||
         normalization == v1::ADVANTAGE_NORMALIZATION_WHITEN_POPULATION;
}

void SetDefaults(v1::RlMode mode, v1::AlgorithmSpec* a) {
  if (!a->has_clip_low()) a->set_clip_low(0.2);
  if (!a->has_clip_high()) a->set_clip_high(a->clip_low());
  if (!a->has_dual_clip()) a->set_dual_clip(0);
  if (!a->has_policy_loss()) a->set_policy_loss(v1::POLICY_LOSS_CLIP);
  if (!a->has_ratio()) a->set_ratio(v1::RATIO_LEVEL_TOKEN);
  if (!a->has_old_policy()) {
    // Samples of older weights: their distance is in the ratio where no correction accounts for it.
    const bool older = mode == v1::RL_MODE_ONE_STEP_OFF && a->corrections().empty();
    a->set_old_policy(older ? v1::OLD_POLICY_ROLLOUT : v1::OLD_POLICY_STEP_START);
  }
  if (!a->has_baseline()) a->set_baseline(v1::ADVANTAGE_BASELINE_GROUP_MEAN);
  if (!a->has_advantage_normalization()) {
    a->set_advantage_normalization(a->baseline() == v1::ADVANTAGE_BASELINE_NONE
                                       ? v1::ADVANTAGE_NORMALIZATION_NONE
                                       : v1::ADVANTAGE_NORMALIZATION_SAMPLE_STD);
  }
  if (!a->has_advantage_epsilon()) a->set_advantage_epsilon(1e-6);
  if (!a->has_discount()) a->set_discount(1);
  if (!a->has_aggregation()) a->set_aggregation(v1::LOSS_AGGREGATION_TOKEN_MEAN);
  if (!a->has_kl_coefficient()) a->set_kl_coefficient(0);
  if (!a->has_kl_placement()) a->set_kl_placement(v1::KL_PLACEMENT_LOSS);
  if (!a->has_kl_estimator()) {
    const bool in_loss = a->kl_placement() == v1::KL_PLACEMENT_LOSS;
    a->set_kl_estimator(in_loss ? v1::KL_ESTIMATOR_K3 : v1::KL_ESTIMATOR_K1);
  }
  if (!a->has_entropy_coefficient()) a->set_entropy_coefficient(0);
  if (!a->has_mask_truncated()) a->set_mask_truncated(false);
  if (!a->has_supervision()) a->set_supervision(v1::SUPERVISION_OUTCOME);
  if (!a->has_reference_refresh_steps()) a->set_reference_refresh_steps(0);
}

absl::Status CheckRanges(const std::string& path, const v1::AlgorithmSpec& a) {
  HONE_RETURN_IF_ERROR(CheckRange(path + ".clip_low", a.clip_low(), {0, 1}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".clip_high", a.clip_high(), {0, 1e6}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".advantage_epsilon", a.advantage_epsilon(), {0, 1}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".kl_coefficient", a.kl_coefficient(), {0, 1e6}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".entropy_coefficient", a.entropy_coefficient(), {0, 1e3}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".discount", a.discount(), {0, 1, true}));
  if (a.dual_clip() == 0) return absl::OkStatus();
  return CheckRange(path + ".dual_clip", a.dual_clip(), {1, 1e6, true});
}

// The preset's dynamic sampling looks at the answers alone: the first accuracy component, where there is one.
void FillPresetComponent(const google::protobuf::RepeatedPtrField<v1::RewardSpec>& rewards, v1::AlgorithmSpec* a) {
  if (!a->has_dynamic_sampling() || a->dynamic_sampling().has_component()) return;
  for (const v1::RewardSpec& reward : rewards) {
    if (!reward.has_accuracy()) continue;
    a->mutable_dynamic_sampling()->set_component(reward.name());
    return;
  }
}

absl::Status ResolveDynamicSampling(const std::string& path,
                                    const google::protobuf::RepeatedPtrField<v1::RewardSpec>& rewards,
                                    v1::DynamicSamplingSpec* sampling) {
  constexpr int kMaxWaves = 100;
  if (!sampling->has_max_waves()) sampling->set_max_waves(4);
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_waves", sampling->max_waves(), 1));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".max_waves", sampling->max_waves(), kMaxWaves));
  if (!sampling->has_fallback()) sampling->set_fallback(v1::DYNAMIC_SAMPLING_FALLBACK_PARTIAL);
  if (!sampling->has_component()) sampling->set_component("");
  if (sampling->component().empty()) return absl::OkStatus();
  std::string names;
  for (const v1::RewardSpec& reward : rewards) {
    if (reward.name() == sampling->component()) return absl::OkStatus();
    absl::StrAppend(&names, names.empty() ? "" : ", ", ToAbsl(reward.name()));
  }
  return FieldError(path + ".component", absl::StrCat("expected a component of the stage's rewards (", names,
                                                      "), got '", ToAbsl(sampling->component()), "'"));
}

// Each token has an advantage of its own, made from the rewards of steps.
absl::Status CheckSupervision(const std::string& path, const v1::RlStage& rl) {
  const v1::AlgorithmSpec& a = rl.algorithm();
  if (a.supervision() != v1::SUPERVISION_PROCESS) return absl::OkStatus();
  bool judged = false;
  for (const v1::RewardSpec& reward : rl.rewards())
    judged = judged || (reward.has_arithmetic() && reward.weight() != 0);
  if (!judged) {
    return FieldError(path + ".supervision", "process needs a reward component that judges steps: arithmetic");
  }
  if (a.baseline() != v1::ADVANTAGE_BASELINE_GROUP_MEAN) {
    return FieldError(path + ".baseline", "expected group_mean with supervision: process");
  }
  if (a.advantage_normalization() != v1::ADVANTAGE_NORMALIZATION_NONE &&
      a.advantage_normalization() != v1::ADVANTAGE_NORMALIZATION_SAMPLE_STD &&
      a.advantage_normalization() != v1::ADVANTAGE_NORMALIZATION_POPULATION_STD) {
    return FieldError(path + ".advantage_normalization",
                      "expected none, sample_std or population_std with supervision: process");
  }
  if (a.kl_coefficient() > 0 && a.kl_placement() != v1::KL_PLACEMENT_LOSS) {
    return FieldError(path + ".kl_placement", "expected loss with supervision: process");
  }
  if (a.ratio() != v1::RATIO_LEVEL_TOKEN) {
    return FieldError(path + ".ratio",
                      "expected token: with supervision: process each token has an advantage of its own");
  }
  return absl::OkStatus();
}

// Whether the piece is built in only the learner knows.
absl::Status CheckCustom(const std::string& path, const v1::CustomPiece& piece) {
  if (!piece.has_name()) return FieldError(path + ".name", "required");
  HONE_RETURN_IF_ERROR(CheckName(path + ".name", piece.name()));
  for (const auto& [name, value] : piece.parameters()) {
    HONE_RETURN_IF_ERROR(CheckRange(absl::StrCat(path, ".parameters.", name), value, {-HUGE_VAL, HUGE_VAL}));
  }
  return absl::OkStatus();
}

// What a piece of one's own stands in place of may not be chosen beside it; the clip's bounds mean nothing then.
absl::Status ResolveCustom(const std::string& path, v1::AlgorithmSpec* a) {
  if (a->has_custom_advantage()) {
    HONE_RETURN_IF_ERROR(CheckCustom(path + ".custom_advantage", a->custom_advantage()));
    if (a->has_baseline() && a->baseline() != v1::ADVANTAGE_BASELINE_NONE) {
      return FieldError(path + ".baseline", "not with custom_advantage, which stands in its place");
    }
    a->set_baseline(v1::ADVANTAGE_BASELINE_NONE);
  }
  if (!a->has_custom_loss()) return absl::OkStatus();
  HONE_RETURN_IF_ERROR(CheckCustom(path + ".custom_loss", a->custom_loss()));
  if (a->has_policy_loss() && a->policy_loss() != v1::POLICY_LOSS_CLIP) {
    return FieldError(path + ".policy_loss", "not with custom_loss, which stands in its place");
  }
  if (a->dual_clip() != 0) return FieldError(path + ".dual_clip", "not with custom_loss");
  return absl::OkStatus();
}

// Which groups teach is told by their samples' values: that must be what the advantages are made of.
absl::Status CheckReplacing(const std::string& path, const v1::AlgorithmSpec& a) {
  if (a.dynamic_sampling().max_waves() <= 1) return absl::OkStatus();
  if (a.baseline() == v1::ADVANTAGE_BASELINE_NONE && !a.has_custom_advantage()) {
    return FieldError(path + ".dynamic_sampling",
                      "not with baseline: none, where a group whose samples have one reward teaches, too");
  }
  if (a.supervision() == v1::SUPERVISION_PROCESS) {
    return FieldError(
        path + ".dynamic_sampling",
        "not with supervision: process, where a group whose samples have one reward may teach (max_waves: 1 "
        "switches a preset's off)");
  }
  return absl::OkStatus();
}

absl::Status CheckReference(const std::string& path, const v1::AlgorithmSpec& a) {
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".reference_refresh_steps", a.reference_refresh_steps(), 0));
  if (a.reference_refresh_steps() == 0 || a.kl_coefficient() > 0) return absl::OkStatus();
  return FieldError(path + ".reference_refresh_steps", "without kl_coefficient above 0 there is no reference");
}

absl::Status CheckAdvantage(const std::string& path, const v1::AlgorithmSpec& a) {
  const v1::AdvantageNormalization normalization = a.advantage_normalization();
  if (a.baseline() == v1::ADVANTAGE_BASELINE_NONE && normalization != v1::ADVANTAGE_NORMALIZATION_NONE &&
      normalization != v1::ADVANTAGE_NORMALIZATION_BATCH_STD && !IsWhitening(normalization)) {
    return FieldError(path + ".advantage_normalization",
                      "without a baseline expected none, batch_std, whiten or whiten_population: the group's deviation "
                      "is one from its mean");
  }
  if (normalization == v1::ADVANTAGE_NORMALIZATION_OTHERS_STD && a.baseline() != v1::ADVANTAGE_BASELINE_LEAVE_ONE_OUT) {
    return FieldError(path + ".advantage_normalization", "others_std goes with baseline: leave_one_out");
  }
  const bool by_token = a.kl_placement() == v1::KL_PLACEMENT_TOKEN_REWARD;
  if (a.discount() != 1 && !by_token) {
    return FieldError(path + ".discount",
                      "only with kl_placement: token_reward, where advantages are returns from a token on");
  }
  if (by_token && a.ratio() != v1::RATIO_LEVEL_TOKEN) {
    return FieldError(path + ".ratio",
                      "expected token: with kl_placement: token_reward each token has an advantage of its own, a "
                      "sequence's ratio has one");
  }
  return absl::OkStatus();
}

absl::Status CheckPolicyLoss(const std::string& path, const v1::AlgorithmSpec& a) {
  if (a.policy_loss() == v1::POLICY_LOSS_CLIP) return absl::OkStatus();
  if (a.ratio() != v1::RATIO_LEVEL_TOKEN) {
    return FieldError(path + ".ratio", "expected token: CISPO bounds the ratio of each token");
  }
  if (a.dual_clip() != 0) return FieldError(path + ".dual_clip", "only with policy_loss: clip");
  return absl::OkStatus();
}

absl::Status CheckCorrections(const std::string& path, const v1::AlgorithmSpec& a) {
  constexpr int kMaxCorrections = 8;
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".corrections (entries)", a.corrections_size(), kMaxCorrections));
  if (a.corrections_size() > 0 && a.old_policy() == v1::OLD_POLICY_ROLLOUT) {
    return FieldError(path + ".corrections",
                      "not with old_policy: rollout, where the ratio that they bound is 1 for every token");
  }
  return absl::OkStatus();
}

absl::Status ResolveCorrection(const std::string& path, v1::CorrectionSpec* correction) {
  if (!correction->has_level()) return FieldError(path + ".level", "required");
  if (!correction->has_mode()) return FieldError(path + ".mode", "required");
  if (!correction->has_upper()) return FieldError(path + ".upper", "required");
  if (correction->mode() == v1::CORRECTION_MODE_TRUNCATE && correction->lower() != 0) {
    return FieldError(path + ".lower", "only with mode: mask or reject; truncate bounds from above");
  }
  if (!correction->has_lower()) correction->set_lower(0);
  HONE_RETURN_IF_ERROR(CheckRange(path + ".upper", correction->upper(), {0, 1e9, true}));
  return CheckRange(path + ".lower", correction->lower(), {0, correction->upper(), false, true});
}

}  // namespace

absl::Status ResolveAlgorithm(const std::string& path, v1::RlStage* rl) {
  v1::AlgorithmSpec* algorithm = rl->mutable_algorithm();
  v1::AlgorithmSpec settings = PresetSettings(algorithm->preset());
  FillPresetComponent(rl->rewards(), &settings);
  settings.MergeFrom(*algorithm);
  *algorithm = std::move(settings);
  if (algorithm->policy_loss() == v1::POLICY_LOSS_CISPO_CAP && !algorithm->has_clip_high()) {
    return FieldError(path + ".clip_high", "required with policy_loss: cispo_cap: the ratio's own bound");
  }
  HONE_RETURN_IF_ERROR(ResolveCustom(path, algorithm));
  SetDefaults(rl->mode(), algorithm);
  HONE_RETURN_IF_ERROR(CheckRanges(path, *algorithm));
  HONE_RETURN_IF_ERROR(CheckAdvantage(path, *algorithm));
  HONE_RETURN_IF_ERROR(CheckPolicyLoss(path, *algorithm));
  HONE_RETURN_IF_ERROR(CheckReference(path, *algorithm));
  HONE_RETURN_IF_ERROR(CheckSupervision(path, *rl));
  if (algorithm->has_dynamic_sampling()) {
    HONE_RETURN_IF_ERROR(
        ResolveDynamicSampling(path + ".dynamic_sampling", rl->rewards(), algorithm->mutable_dynamic_sampling()));
    HONE_RETURN_IF_ERROR(CheckReplacing(path, *algorithm));
  }
  for (int i = 0; i < algorithm->corrections_size(); ++i) {
    HONE_RETURN_IF_ERROR(
        ResolveCorrection(absl::StrCat(path, ".corrections[", i, "]"), algorithm->mutable_corrections(i)));
  }
  return CheckCorrections(path, *algorithm);
}

}  // namespace hone::internal
