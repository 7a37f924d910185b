// Defaults and ranges of the stages' kinds, as the comments of run.proto state them.
#include <cmath>

#include "base/status.h"
#include "coordinator/run_config/checks.h"

namespace hone::internal {
namespace {

enum class SamplingUse { kTraining, kEvaluation };

absl::Status ResolveThinking(const std::string& path, v1::ThinkingSpec* thinking) {
  if (!thinking->has_max_tokens()) thinking->set_max_tokens(0);
  if (!thinking->has_ignore_ends()) thinking->set_ignore_ends(0);
  if (!thinking->has_wait_text()) thinking->set_wait_text("Wait");
  if (!thinking->has_answer_cue()) thinking->set_answer_cue("\nFinal Answer:");
  if (!thinking->has_begin()) thinking->set_begin("<think>");
  if (!thinking->has_end()) thinking->set_end("</think>");
  if (!thinking->has_switch_penalty()) thinking->set_switch_penalty(0);
  if (!thinking->has_switch_window()) thinking->set_switch_window(600);
  if (thinking->switch_words().empty()) thinking->add_switch_words("alternatively");
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_tokens", thinking->max_tokens(), 0));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".ignore_ends", thinking->ignore_ends(), 0));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".ignore_ends", thinking->ignore_ends(), 1024));
  HONE_RETURN_IF_ERROR(CheckText(path + ".wait_text", thinking->wait_text()));
  HONE_RETURN_IF_ERROR(CheckText(path + ".end", thinking->end()));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".switch_penalty", thinking->switch_penalty(), {0, 10000}));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".switch_window", thinking->switch_window(), 0));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".switch_words (entries)", thinking->switch_words_size(), 64));
  for (int i = 0; i < thinking->switch_words_size(); ++i) {
    HONE_RETURN_IF_ERROR(CheckText(absl::StrCat(path, ".switch_words[", i, "]"), thinking->switch_words(i)));
  }
  return absl::OkStatus();
}

// Biases and penalties of tokens.
absl::Status ResolveLogits(const std::string& path, v1::SamplingSpec* sampling) {
  if (!sampling->has_repetition_penalty()) sampling->set_repetition_penalty(1);
  if (!sampling->has_presence_penalty()) sampling->set_presence_penalty(0);
  if (!sampling->has_frequency_penalty()) sampling->set_frequency_penalty(0);
  HONE_RETURN_IF_ERROR(CheckRange(path + ".repetition_penalty", sampling->repetition_penalty(), {0, 100, true}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".presence_penalty", sampling->presence_penalty(), {-100, 100}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".frequency_penalty", sampling->frequency_penalty(), {-100, 100}));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".logit_bias (entries)", sampling->logit_bias_size(), 1024));
  for (int i = 0; i < sampling->logit_bias_size(); ++i) {
    const v1::LogitBias& entry = sampling->logit_bias(i);
    const std::string at = absl::StrCat(path, ".logit_bias[", i, "]");
    if (!entry.has_token_id()) return FieldError(at + ".token_id", "required");
    if (!entry.has_bias()) return FieldError(at + ".bias", "required");
    HONE_RETURN_IF_ERROR(CheckAtLeast(at + ".token_id", entry.token_id(), 0));
    HONE_RETURN_IF_ERROR(CheckRange(at + ".bias", entry.bias(), {-1e30, 1e30}));
  }
  return absl::OkStatus();
}

absl::Status ResolveSampling(const std::string& path, SamplingUse use, v1::SamplingSpec* sampling) {
  if (!sampling->has_temperature()) sampling->set_temperature(1);
  if (!sampling->has_top_k()) sampling->set_top_k(0);
  if (!sampling->has_top_p()) sampling->set_top_p(1);
  if (!sampling->has_min_p()) sampling->set_min_p(0);
  if (!sampling->has_max_new_tokens()) sampling->set_max_new_tokens(kDefaultMaxNewTokens);
  if (!sampling->has_min_new_tokens()) sampling->set_min_new_tokens(0);
  // Greedy rollouts would all be equal: no advantage, and no log-probs to learn from.
  HONE_RETURN_IF_ERROR(
      CheckRange(path + ".temperature", sampling->temperature(), {0, 100, use == SamplingUse::kTraining}));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".top_k", sampling->top_k(), 0));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".top_p", sampling->top_p(), {0, 1, true}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".min_p", sampling->min_p(), {0, 1, false, true}));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_new_tokens", sampling->max_new_tokens(), 1));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".min_new_tokens", sampling->min_new_tokens(), 0));
  if (sampling->min_new_tokens() > sampling->max_new_tokens()) {
    return FieldError(path + ".min_new_tokens",
                      absl::StrCat("expected at most max_new_tokens (", sampling->max_new_tokens(), "), got ",
                                   sampling->min_new_tokens()));
  }
  constexpr int kMaxStops = 64;
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".stop (entries)", sampling->stop_size(), kMaxStops));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".stop_token_ids (entries)", sampling->stop_token_ids_size(), kMaxStops));
  for (int i = 0; i < sampling->stop_size(); ++i) {
    HONE_RETURN_IF_ERROR(CheckText(absl::StrCat(path, ".stop[", i, "]"), sampling->stop(i)));
  }
  for (int i = 0; i < sampling->stop_token_ids_size(); ++i) {
    HONE_RETURN_IF_ERROR(CheckAtLeast(absl::StrCat(path, ".stop_token_ids[", i, "]"), sampling->stop_token_ids(i), 0));
  }
  HONE_RETURN_IF_ERROR(ResolveLogits(path, sampling));
  return sampling->has_thinking() ? ResolveThinking(path + ".thinking", sampling->mutable_thinking())
                                  : absl::OkStatus();
}

// `steps`: optimizer steps of the stage; 0 where they are not known before the data is.
absl::Status ResolveOptimizer(const std::string& path, double weight_decay, int64_t steps, bool given,
                              v1::OptimizerSpec* optimizer) {
  if (!given || !optimizer->has_learning_rate()) return FieldError(path + ".learning_rate", "required");
  if (!optimizer->has_schedule()) optimizer->set_schedule(v1::LR_SCHEDULE_CONSTANT);
  if (!optimizer->has_warmup_steps()) optimizer->set_warmup_steps(0);
  if (!optimizer->has_decay_fraction()) optimizer->set_decay_fraction(1);
  if (!optimizer->has_final_ratio()) optimizer->set_final_ratio(0);
  if (!optimizer->has_beta1()) optimizer->set_beta1(0.9);
  if (!optimizer->has_beta2()) optimizer->set_beta2(0.95);
  if (!optimizer->has_epsilon()) optimizer->set_epsilon(1e-8);
  if (!optimizer->has_weight_decay()) optimizer->set_weight_decay(weight_decay);
  if (!optimizer->has_max_grad_norm()) optimizer->set_max_grad_norm(1);
  if (!optimizer->has_moments()) optimizer->set_moments(v1::MOMENT_FORMAT_FP32);
  if (!optimizer->has_on_non_finite()) optimizer->set_on_non_finite(v1::NON_FINITE_POLICY_SKIP);
  HONE_RETURN_IF_ERROR(CheckRange(path + ".learning_rate", optimizer->learning_rate(), {0, 10, true}));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".warmup_steps", optimizer->warmup_steps(), 0));
  if (steps > 0 && optimizer->warmup_steps() > steps) {
    return FieldError(path + ".warmup_steps", absl::StrCat("expected at most the stage's ", steps,
                                                           " optimizer steps, got ", optimizer->warmup_steps()));
  }
  HONE_RETURN_IF_ERROR(CheckRange(path + ".decay_fraction", optimizer->decay_fraction(), {0, 1, true}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".final_ratio", optimizer->final_ratio(), {0, 1}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".beta1", optimizer->beta1(), {0, 1, false, true}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".beta2", optimizer->beta2(), {0, 1, false, true}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".epsilon", optimizer->epsilon(), {0, 1, true}));
  HONE_RETURN_IF_ERROR(CheckRange(path + ".weight_decay", optimizer->weight_decay(), {0, 1e3}));
  return CheckRange(path + ".max_grad_norm", optimizer->max_grad_norm(), {0, HUGE_VAL});
}

absl::Status ResolveEvaluation(const ResolveContext& context, const std::string& path, v1::EvaluationSpec* evaluation) {
  HONE_RETURN_IF_ERROR(CheckDataset(context, path + ".dataset", evaluation->dataset(), evaluation->has_dataset()));
  if (!evaluation->has_samples()) evaluation->set_samples(1);
  constexpr int kMaxSamples = 4096;
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".samples", evaluation->samples(), 1));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".samples", evaluation->samples(), kMaxSamples));
  if (!evaluation->has_max_problems()) evaluation->set_max_problems(0);
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_problems", evaluation->max_problems(), 0));
  HONE_RETURN_IF_ERROR(ResolveSampling(path + ".sampling", SamplingUse::kEvaluation, evaluation->mutable_sampling()));
  if (evaluation->rewards().empty()) {
    if (context.default_rewards == nullptr) {
      return FieldError(path + ".rewards", "required: the run has no rl stage to take them from");
    }
    *evaluation->mutable_rewards() = *context.default_rewards;
  }
  HONE_RETURN_IF_ERROR(ResolveRewards(path + ".rewards", RewardUse::kEvaluation,
                                      evaluation->sampling().max_new_tokens(), evaluation->mutable_rewards()));
  if (evaluation->has_max_prompt_tokens()) {
    HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_prompt_tokens", evaluation->max_prompt_tokens(), 1));
  }
  if (!evaluation->has_overlong()) evaluation->set_overlong(v1::OVERLONG_POLICY_DROP);
  return absl::OkStatus();
}

absl::Status ResolvePeriodicEval(const ResolveContext& context, const std::string& path, v1::PeriodicEvalSpec* eval) {
  HONE_RETURN_IF_ERROR(ResolveEvaluation(context, path + ".evaluation", eval->mutable_evaluation()));
  if (!eval->has_every_steps()) eval->set_every_steps(0);
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".every_steps", eval->every_steps(), 0));
  if (!eval->has_at_start()) eval->set_at_start(true);
  if (!eval->has_at_end()) eval->set_at_end(true);
  if (!eval->has_keep_best()) eval->set_keep_best(false);
  if (eval->every_steps() == 0 && !eval->at_start() && !eval->at_end()) {
    return FieldError(path, "no evaluation would ever take place: set every_steps, at_start or at_end");
  }
  if (!eval->keep_best()) return absl::OkStatus();
  if (eval->every_steps() == 0 && !eval->at_end()) {
    return FieldError(path + ".keep_best", "only the start is evaluated: set every_steps or at_end");
  }
  for (const v1::RewardSpec& reward : eval->evaluation().rewards()) {
    if (reward.has_accuracy()) return absl::OkStatus();
  }
  return FieldError(path + ".keep_best",
                    "the best checkpoint has the highest pass@1: an accuracy component is required");
}

absl::Status ResolveSft(const ResolveContext& context, const std::string& path, v1::SftStage* sft) {
  HONE_RETURN_IF_ERROR(CheckDataset(context, path + ".dataset", sft->dataset(), sft->has_dataset()));
  if (sft->has_steps() == sft->has_epochs()) {
    return FieldError(path, absl::StrCat("exactly one of steps and epochs is required, ",
                                         sft->has_steps() ? "both are given" : "neither is given"));
  }
  if (sft->has_steps()) HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".steps", sft->steps(), 1));
  if (sft->has_epochs()) HONE_RETURN_IF_ERROR(CheckRange(path + ".epochs", sft->epochs(), {0, 1e6, true}));
  if (!sft->has_batch_size()) sft->set_batch_size(64);
  constexpr int kMaxBatch = 1 << 20;
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".batch_size", sft->batch_size(), 1));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".batch_size", sft->batch_size(), kMaxBatch));
  // Two: one token predicts the other.
  if (sft->has_max_tokens()) HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_tokens", sft->max_tokens(), 2));
  if (!sft->has_overlong()) sft->set_overlong(v1::OVERLONG_POLICY_DROP);
  const bool given = sft->has_optimizer();
  HONE_RETURN_IF_ERROR(ResolveOptimizer(path + ".optimizer", 0.01, sft->steps(), given, sft->mutable_optimizer()));
  if (!sft->has_shuffle()) sft->set_shuffle(true);
  if (!sft->has_append_eos()) sft->set_append_eos(true);
  if (sft->has_repetition_dropout()) {
    v1::RepetitionDropoutSpec* dropout = sft->mutable_repetition_dropout();
    if (!dropout->has_probability()) dropout->set_probability(0.6);
    if (!dropout->has_max_ngram()) dropout->set_max_ngram(2);
    HONE_RETURN_IF_ERROR(CheckRange(path + ".repetition_dropout.probability", dropout->probability(), {0, 1}));
    constexpr int kMaxNgram = 64;
    HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".repetition_dropout.max_ngram", dropout->max_ngram(), 2));
    HONE_RETURN_IF_ERROR(CheckAtMost(path + ".repetition_dropout.max_ngram", dropout->max_ngram(), kMaxNgram));
  }
  if (!sft->has_evaluate()) return absl::OkStatus();
  return ResolvePeriodicEval(context, path + ".evaluate", sft->mutable_evaluate());
}

absl::Status ResolveRl(const ResolveContext& context, const std::string& path, v1::RlStage* rl) {
  HONE_RETURN_IF_ERROR(CheckDataset(context, path + ".dataset", rl->dataset(), rl->has_dataset()));
  if (!rl->has_steps()) return FieldError(path + ".steps", "required");
  if (!rl->has_prompts_per_step()) rl->set_prompts_per_step(32);
  if (!rl->has_group_size()) rl->set_group_size(8);
  if (!rl->has_minibatches()) rl->set_minibatches(1);
  if (!rl->has_mode()) rl->set_mode(v1::RL_MODE_SYNC);
  constexpr int kMaxPrompts = 1 << 16;
  constexpr int kMaxGroup = 4096;
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".steps", rl->steps(), 1));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".prompts_per_step", rl->prompts_per_step(), 1));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".prompts_per_step", rl->prompts_per_step(), kMaxPrompts));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".group_size", rl->group_size(), 1));
  HONE_RETURN_IF_ERROR(CheckAtMost(path + ".group_size", rl->group_size(), kMaxGroup));
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".minibatches", rl->minibatches(), 1));
  if (rl->minibatches() > rl->prompts_per_step()) {
    return FieldError(path + ".minibatches", absl::StrCat("a minibatch needs a group at least: expected at most "
                                                          "prompts_per_step (",
                                                          rl->prompts_per_step(), "), got ", rl->minibatches()));
  }
  if (rl->has_max_prompt_tokens()) {
    HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_prompt_tokens", rl->max_prompt_tokens(), 1));
  }
  if (!rl->has_overlong()) rl->set_overlong(v1::OVERLONG_POLICY_DROP);
  HONE_RETURN_IF_ERROR(ResolveSampling(path + ".sampling", SamplingUse::kTraining, rl->mutable_sampling()));
  HONE_RETURN_IF_ERROR(ResolveAlgorithm(path + ".algorithm", rl));
  if (rl->group_size() == 1 &&
      (rl->algorithm().baseline() != v1::ADVANTAGE_BASELINE_NONE || rl->algorithm().has_custom_advantage())) {
    return FieldError(path + ".group_size",
                      "expected at least 2, got 1: a sample is compared with the others of its group (or give "
                      "algorithm.baseline: none)");
  }
  const bool given = rl->has_optimizer();
  const int64_t optimizer_steps = static_cast<int64_t>(rl->steps()) * rl->minibatches();
  HONE_RETURN_IF_ERROR(ResolveOptimizer(path + ".optimizer", 0, optimizer_steps, given, rl->mutable_optimizer()));
  if (!rl->has_evaluate()) return absl::OkStatus();
  return ResolvePeriodicEval(context, path + ".evaluate", rl->mutable_evaluate());
}

}  // namespace

absl::Status ResolveStageKind(const ResolveContext& context, const std::string& path, v1::StageSpec* stage) {
  switch (stage->kind_case()) {
    case v1::StageSpec::kPretrain:
      return ResolveSft(context, path + ".pretrain", stage->mutable_pretrain());
    case v1::StageSpec::kSft:
      return ResolveSft(context, path + ".sft", stage->mutable_sft());
    case v1::StageSpec::kRl:
      return ResolveRl(context, path + ".rl", stage->mutable_rl());
    case v1::StageSpec::kEvaluate:
      return ResolveEvaluation(context, path + ".evaluate.evaluation", stage->mutable_evaluate()->mutable_evaluation());
    case v1::StageSpec::kExport: {
      v1::ExportStage* out = stage->mutable_export_();
      if (!out->has_path()) out->set_path(absl::StrCat(context.spec->output_dir(), "/export/", stage->name()));
      if (!out->has_dtype()) out->set_dtype(context.spec->numerics().dtype());
      return CheckText(path + ".export.path", out->path());
    }
    case v1::StageSpec::KIND_NOT_SET:
      break;  // refused before
  }
  return absl::OkStatus();
}

}  // namespace hone::internal
