#include "learner/rl_options.h"

#include "absl/strings/str_cat.h"
#include "hone/v1/run.pb.h"
#include "learner/algorithms/custom.h"

namespace hone::learner {
namespace {

PolicyLossKind KindOf(v1::PolicyLoss loss) {
  switch (loss) {
    case v1::POLICY_LOSS_CISPO:
      return PolicyLossKind::kCispo;
    case v1::POLICY_LOSS_CISPO_CAP:
      return PolicyLossKind::kCispoCap;
    default:
      return PolicyLossKind::kClip;
  }
}

RatioLevel LevelOf(v1::RatioLevel level) {
  switch (level) {
    case v1::RATIO_LEVEL_SEQUENCE_MEAN:
      return RatioLevel::kSequenceMean;
    case v1::RATIO_LEVEL_SEQUENCE_PRODUCT:
      return RatioLevel::kSequenceProduct;
    default:
      return RatioLevel::kToken;
  }
}

AdvantageBaseline BaselineOf(v1::AdvantageBaseline baseline) {
  switch (baseline) {
    case v1::ADVANTAGE_BASELINE_LEAVE_ONE_OUT:
      return AdvantageBaseline::kLeaveOneOut;
    case v1::ADVANTAGE_BASELINE_NONE:
      return AdvantageBaseline::kNone;
    default:
      return AdvantageBaseline::kGroupMean;
  }
}

AdvantageNormalization NormalizationOf(v1::AdvantageNormalization normalization) {
  switch (normalization) {
    case v1::ADVANTAGE_NORMALIZATION_NONE:
      return AdvantageNormalization::kNone;
    case v1::ADVANTAGE_NORMALIZATION_POPULATION_STD:
      return AdvantageNormalization::kPopulationStd;
    case v1::ADVANTAGE_NORMALIZATION_OTHERS_STD:
      return AdvantageNormalization::kOthersStd;
    case v1::ADVANTAGE_NORMALIZATION_BATCH_STD:
      return AdvantageNormalization::kBatchStd;
    case v1::ADVANTAGE_NORMALIZATION_WHITEN:
      return AdvantageNormalization::kWhiten;
    case v1::ADVANTAGE_NORMALIZATION_WHITEN_POPULATION:
      return AdvantageNormalization::kWhitenPopulation;
    default:
      return AdvantageNormalization::kSampleStd;
  }
}

LossAggregation AggregationOf(v1::LossAggregation aggregation) {
  switch (aggregation) {
    case v1::LOSS_AGGREGATION_SEQUENCE_MEAN_TOKEN_MEAN:
      return LossAggregation::kSequenceMeanTokenMean;
    case v1::LOSS_AGGREGATION_SEQUENCE_MEAN_TOKEN_SUM:
      return LossAggregation::kSequenceMeanTokenSum;
    case v1::LOSS_AGGREGATION_CONSTANT:
      return LossAggregation::kConstant;
    default:
      return LossAggregation::kTokenMean;
  }
}

KlEstimator EstimatorOf(v1::KlEstimator estimator) {
  switch (estimator) {
    case v1::KL_ESTIMATOR_K1:
      return KlEstimator::kK1;
    case v1::KL_ESTIMATOR_K2:
      return KlEstimator::kK2;
    case v1::KL_ESTIMATOR_K3_PLUS:
      return KlEstimator::kK3Plus;
    default:
      return KlEstimator::kK3;
  }
}

KlPlacement PlacementOf(v1::KlPlacement placement) {
  switch (placement) {
    case v1::KL_PLACEMENT_SEQUENCE_REWARD:
      return KlPlacement::kSequenceReward;
    case v1::KL_PLACEMENT_TOKEN_REWARD:
      return KlPlacement::kTokenReward;
    default:
      return KlPlacement::kLoss;
  }
}

Correction CorrectionOf(const v1::CorrectionSpec& spec) {
  Correction correction{.lower = spec.lower(), .upper = spec.upper()};
  if (spec.level() == v1::CORRECTION_LEVEL_SEQUENCE) correction.level = CorrectionLevel::kSequence;
  if (spec.level() == v1::CORRECTION_LEVEL_GEOMETRIC_MEAN) correction.level = CorrectionLevel::kGeometricMean;
  if (spec.mode() == v1::CORRECTION_MODE_MASK) correction.mode = CorrectionMode::kMask;
  if (spec.mode() == v1::CORRECTION_MODE_REJECT) correction.mode = CorrectionMode::kReject;
  return correction;
}

Objective ObjectiveOf(const v1::AlgorithmSpec& algorithm) {
  Objective objective;
  objective.policy.kind = KindOf(algorithm.policy_loss());
  objective.policy.low = algorithm.has_clip_low() ? algorithm.clip_low() : 0.2;
  objective.policy.high = algorithm.has_clip_high() ? algorithm.clip_high() : objective.policy.low;
  objective.policy.dual = algorithm.dual_clip();
  objective.ratio = LevelOf(algorithm.ratio());
  objective.aggregation = AggregationOf(algorithm.aggregation());
  objective.kl_coefficient = algorithm.kl_coefficient();
  objective.kl_estimator = EstimatorOf(algorithm.kl_estimator());
  objective.kl_placement = PlacementOf(algorithm.kl_placement());
  objective.entropy_coefficient = algorithm.entropy_coefficient();
  for (const v1::CorrectionSpec& spec : algorithm.corrections()) {
    objective.corrections.push_back(CorrectionOf(spec));
  }
  return objective;
}

absl::Status BindCustomPieces(const v1::AlgorithmSpec& algorithm, RlOptions* options) {
  const auto parameters = [](const v1::CustomPiece& piece) {
    return Parameters(piece.parameters().begin(), piece.parameters().end());
  };
  if (algorithm.has_custom_advantage()) {
    const v1::CustomPiece& piece = algorithm.custom_advantage();
    HONE_ASSIGN_OR_RETURN(options->advantage.custom,
                          BindAdvantage("rl.algorithm.custom_advantage", piece.name(), parameters(piece)));
  }
  if (algorithm.has_custom_loss()) {
    const v1::CustomPiece& piece = algorithm.custom_loss();
    HONE_ASSIGN_OR_RETURN(options->objective.policy.custom,
                          BindLoss("rl.algorithm.custom_loss", piece.name(), parameters(piece)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RlOptions> MakeRlOptions(const v1::RlStage& stage) {
  const v1::AlgorithmSpec& algorithm = stage.algorithm();
  RlOptions options;
  options.objective = ObjectiveOf(algorithm);
  options.advantage.baseline = BaselineOf(algorithm.baseline());
  options.advantage.normalization = NormalizationOf(algorithm.advantage_normalization());
  if (algorithm.has_advantage_epsilon()) options.advantage.epsilon = algorithm.advantage_epsilon();
  options.discount = algorithm.has_discount() ? algorithm.discount() : 1;
  options.rollout_is_old_policy = algorithm.old_policy() == v1::OLD_POLICY_ROLLOUT;
  options.process = algorithm.supervision() == v1::SUPERVISION_PROCESS;
  for (const v1::RewardSpec& reward : stage.rewards()) {
    if (reward.weight() == 0) continue;
    if (reward.has_arithmetic()) {
      options.step_components.insert(reward.name());
    } else {
      options.outcome_step = true;
    }
  }
  options.mask_truncated = algorithm.mask_truncated();
  options.reference_refresh_steps = algorithm.reference_refresh_steps();
  options.minibatches = stage.has_minibatches() ? stage.minibatches() : 1;
  options.temperature = stage.sampling().has_temperature() ? static_cast<float>(stage.sampling().temperature()) : 1.0f;
  options.max_new_tokens = stage.sampling().has_max_new_tokens() ? stage.sampling().max_new_tokens() : 256;
  HONE_RETURN_IF_ERROR(BindCustomPieces(algorithm, &options));
  if (!(options.temperature > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rl.sampling.temperature: expected above 0 for training, got ", options.temperature));
  }
  if (options.minibatches < 1) {
    return absl::InvalidArgumentError(absl::StrCat("rl.minibatches: expected at least 1, got ", options.minibatches));
  }
  return options;
}

}  // namespace hone::learner
