// Every default of run.proto, and every check that a run must pass before it starts.
#include "coordinator/run_config/resolve.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>

#include "coordinator/run_config/overrides.h"
#include "coordinator/run_config/yaml_reader.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

constexpr const char* kMinimal = R"(
name: tiny
model: {path: m}
datasets:
  train: {sources: [{path: a.jsonl}]}
  test: {sources: [{path: b.jsonl}]}
stages:
  - name: base
    pretrain: {dataset: train, steps: 5, optimizer: {learning_rate: 0.01}}
  - name: zero
    rl:
      dataset: train
      steps: 3
      optimizer: {learning_rate: 0.001}
      rewards: [{accuracy: {}}, {format: {}}, {language: {}}, {length: {}, weight: 0}, {overlong: {}}]
      evaluate: {evaluation: {dataset: test}}
  - name: final
    evaluate: {evaluation: {dataset: test, samples: 4}}
  - name: out
    export: {}
)";

v1::RunSpec Minimal() { return *ParseRunYaml(kMinimal, "minimal.yaml"); }

// The error of the minimal run with `assignments` applied.
std::string ErrorWith(const std::vector<std::string>& assignments) {
  v1::RunSpec spec = Minimal();
  for (const std::string& assignment : assignments) {
    const absl::Status status = ApplyOverride(&spec, assignment);
    EXPECT_TRUE(status.ok()) << status;
  }
  const auto resolved = ResolveRunSpec(spec);
  if (resolved.ok()) return "accepted";
  EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(resolved.status().message());
}

TEST(Resolve, WritesOutEveryDefault) {
  const auto resolved = ResolveRunSpec(Minimal());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  const auto expected = ParseRunYaml(R"(
name: tiny
seed: 0
output_dir: runs/tiny
model: {path: m, random_init: false}
datasets:
  test: &source
    sources:
      - path: b.jsonl
        weight: 1
        columns: {prompt: prompt, completion: completion, text: text, answer: answer, id: id, language: language}
        max_rows: 0
        template: raw
        prompt_suffix: ""
  train:
    sources:
      - path: a.jsonl
        weight: 1
        columns: {prompt: prompt, completion: completion, text: text, answer: answer, id: id, language: language}
        max_rows: 0
        template: raw
        prompt_suffix: ""
stages:
  - name: base
    pretrain:
      dataset: train
      steps: 5
      batch_size: 64
      overlong: drop
      optimizer: {learning_rate: 0.01, schedule: constant, warmup_steps: 0, decay_fraction: 1, final_ratio: 0,
                  beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.01, max_grad_norm: 1,
                  moments: fp32, on_non_finite: skip}
      shuffle: true
      append_eos: true
  - name: zero
    from: base
    rl:
      dataset: train
      steps: 3
      prompts_per_step: 32
      group_size: 8
      minibatches: 1
      mode: sync
      overlong: drop
      sampling: &sampling
        {temperature: 1, top_k: 0, top_p: 1, min_p: 0, max_new_tokens: 256, min_new_tokens: 0, repetition_penalty: 1, presence_penalty: 0,
         frequency_penalty: 0}
      rewards: &rewards
        - {name: accuracy, weight: 1, accuracy: {match: numeric, extraction: answer_tag}}
        - {name: format, weight: 1, format: {require_finished: true, think_prefilled: false}}
        - {name: language, weight: 1, language: {think_only: false}}
        - {name: length, weight: 0, length: {}}
        - {name: overlong, weight: 1, overlong: {max_tokens: 256, buffer_tokens: 51}}
      algorithm: {clip_low: 0.2, clip_high: 0.2, dual_clip: 0, policy_loss: clip, ratio: token, old_policy: step_start,
                  baseline: group_mean, advantage_normalization: sample_std, advantage_epsilon: 1e-6, discount: 1,
                  aggregation: token_mean, kl_coefficient: 0, kl_estimator: k3, kl_placement: loss,
                  entropy_coefficient: 0, mask_truncated: false, reference_refresh_steps: 0,
                  supervision: outcome}
      optimizer: {learning_rate: 0.001, schedule: constant, warmup_steps: 0, decay_fraction: 1, final_ratio: 0,
                  beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0, max_grad_norm: 1,
                  moments: fp32, on_non_finite: skip}
      evaluate:
        evaluation:
          {dataset: test, samples: 1, max_problems: 0, sampling: *sampling, rewards: *rewards, overlong: drop}
        every_steps: 0
        at_start: true
        at_end: true
        keep_best: false
  - name: final
    from: zero
    evaluate:
      evaluation:
        {dataset: test, samples: 4, max_problems: 0, sampling: *sampling, rewards: *rewards, overlong: drop}
  - name: out
    from: zero
    export: {path: runs/tiny/export/out, dtype: fp32}
numerics: {dtype: fp32, micro_batch_invariant: false}
checkpoints: {every_steps: 20, keep_last: 2, asynchronous: false}
memory: {recompute: none}
)",
                                     "expected.yaml");
  ASSERT_TRUE(expected.ok()) << expected.status();
  google::protobuf::util::MessageDifferencer differencer;
  std::string differences;
  differencer.ReportDifferencesToString(&differences);
  EXPECT_TRUE(differencer.Compare(*expected, *resolved)) << differences;

  const auto again = ResolveRunSpec(*resolved);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToYaml(*again), ToYaml(*resolved));
}

TEST(Resolve, WhatIsGivenStays) {
  v1::RunSpec spec = Minimal();
  for (const char* assignment :
       {"output_dir=elsewhere", "numerics.dtype=bf16", "stages.zero.rl.algorithm={clip_low: 0.1}",
        "stages.base.pretrain.optimizer.weight_decay=0", "stages.zero.rl.rewards.3.name=tokens"}) {
    ASSERT_TRUE(ApplyOverride(&spec, assignment).ok()) << assignment;
  }
  const auto resolved = ResolveRunSpec(spec);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->stages(1).rl().algorithm().clip_high(), 0.1) << "clip_high's default is clip_low";
  EXPECT_EQ(resolved->stages(3).export_().path(), "elsewhere/export/out");
  EXPECT_EQ(resolved->stages(3).export_().dtype(), v1::DTYPE_BF16);
  EXPECT_EQ(resolved->stages(0).pretrain().optimizer().weight_decay(), 0);
  EXPECT_EQ(resolved->stages(1).rl().rewards(3).name(), "tokens");
}

struct Case {
  std::vector<std::string> assignments;
  std::string error;
};

TEST(Resolve, EachBadFieldIsNamed) {
  const std::vector<Case> cases = {
      {{"name=Tiny"}, "name: expected 1 to 63 characters of a-z, 0-9 and '-'"},
      {{"name=-tiny"}, "name: expected 1 to 63 characters"},
      {{"output_dir=\"\""}, "output_dir: required, and may not be empty"},
      {{"model={}"}, "model.path: required"},
      {{"checkpoints.every_steps=0"}, "checkpoints.every_steps: expected at least 1, got 0"},
      {{"checkpoints.keep_last=0"}, "checkpoints.keep_last: expected at least 1, got 0"},
      {{"memory.micro_batch_tokens=0"}, "memory.micro_batch_tokens: expected at least 1, got 0"},
      {{"stages.base.pretrain.repetition_dropout.probability=1.5"}, "repetition_dropout.probability: expected"},
      {{"stages.base.pretrain.repetition_dropout.max_ngram=1"},
       "repetition_dropout.max_ngram: expected at least 2, got 1"},
      {{"budget.max_time=0s"}, "budget.max_time: expected more than no time, got 0s"},
      {{"datasets.Big={sources: [{path: x}]}"}, "datasets.Big: expected 1 to 63 characters"},
      {{"datasets.train={}"}, "datasets.train.sources: required: at least one"},
      {{"datasets.train.sources.0.path=\"\""}, "datasets.train.sources[0].path: required"},
      {{"datasets.train.sources.0.weight=0"},
       "datasets.train.sources[0].weight: expected a finite number above 0, got 0"},
      {{"datasets.train.sources.0.max_rows=-1"}, "datasets.train.sources[0].max_rows: expected at least 0, got -1"},
      {{"datasets.train.sources.0.columns.answer=\"\""}, "datasets.train.sources[0].columns.answer: required"},
      {{"datasets.train.sources.0.system_prompt=Hi"}, "datasets.train.sources[0].system_prompt: only `template: chat`"},
      {{"stages=[]"}, "stages: required: at least one stage"},
      {{"stages.0.name=Base"}, "stages[0].name: expected 1 to 63 characters"},
      {{"stages.1.name=base"}, "stages[1].name: an earlier stage is named 'base' too"},
      {{"stages.3={name: x}"}, "stages[3]: the stage's kind is required"},
      {{"stages.3={export: {}}"}, "stages[3].name: required"},
      {{"stages.zero.from=bse"}, "stages[1].from: no earlier training stage is named 'bse'; did you mean 'base'?"},
      {{"stages.base.from=zero"}, "stages[0].from: no earlier training stage is named 'zero'; there are none"},
      {{"stages.out.from=final"}, "stages[3].from: no earlier training stage is named 'final'"},
      {{"stages.zero.from=base", "stages.zero.from_checkpoint=c"}, "stages[1].from: give either"},
      {{"stages.zero.from_checkpoint=\"\""}, "stages[1].from_checkpoint: required"},
      {{"stages.base.pretrain.dataset=tran"},
       "stages[0].pretrain.dataset: no data set is named 'tran'; did you mean 'train'?"},
      {{"stages.base.pretrain.epochs=1"},
       "stages[0].pretrain: exactly one of steps and epochs is required, both are given"},
      {{"stages.base.pretrain.steps=0"}, "stages[0].pretrain.steps: expected at least 1, got 0"},
      {{"stages.base.pretrain.batch_size=0"}, "stages[0].pretrain.batch_size: expected at least 1"},
      {{"stages.base.pretrain.max_tokens=1"}, "stages[0].pretrain.max_tokens: expected at least 2"},
      {{"stages.base.pretrain.optimizer={}"}, "stages[0].pretrain.optimizer.learning_rate: required"},
      {{"stages.base.pretrain.optimizer.learning_rate=0"},
       "optimizer.learning_rate: expected a number above 0 to 10, got 0"},
      {{"stages.base.pretrain.optimizer.warmup_steps=6"},
       "warmup_steps: expected at most the stage's 5 optimizer steps, got 6"},
      {{"stages.base.pretrain.optimizer.decay_fraction=1.5"},
       "optimizer.decay_fraction: expected a number above 0 to 1, got 1.5"},
      {{"stages.base.pretrain.optimizer.final_ratio=-1"},
       "optimizer.final_ratio: expected a number from 0 to 1, got -1"},
      {{"stages.base.pretrain.optimizer.beta1=1"}, "optimizer.beta1: expected a number from 0 and below 1, got 1"},
      {{"stages.base.pretrain.optimizer.beta2=1"}, "optimizer.beta2: expected"},
      {{"stages.base.pretrain.optimizer.epsilon=0"}, "optimizer.epsilon: expected"},
      {{"stages.base.pretrain.optimizer.weight_decay=-1"}, "optimizer.weight_decay: expected"},
      {{"stages.base.pretrain.optimizer.max_grad_norm=-1"},
       "optimizer.max_grad_norm: expected a finite number of at least 0"},
      {{"stages.zero.rl.steps=0"}, "stages[1].rl.steps: expected at least 1, got 0"},
      {{"stages.zero.rl={dataset: train}"}, "stages[1].rl.rewards: required: at least one component"},
      {{"stages.zero.rl={dataset: train, rewards: [{length: {}}]}"}, "stages[1].rl.steps: required"},
      {{"stages.zero.rl={steps: 1, rewards: [{length: {}}]}"},
       "stages[1].rl.dataset: required; expected one of: test, train"},
      {{"stages.zero.rl.prompts_per_step=0"}, "rl.prompts_per_step: expected at least 1"},
      {{"stages.zero.rl.group_size=0"}, "stages[1].rl.group_size: expected at least 1, got 0"},
      {{"stages.zero.rl.group_size=5000"}, "stages[1].rl.group_size: expected at most 4096, got 5000"},
      {{"stages.zero.rl.minibatches=33"},
       "rl.minibatches: a minibatch needs a group at least: expected at most prompts_per_step (32), got 33"},
      {{"stages.zero.rl.minibatches=0"}, "rl.minibatches: expected at least 1"},
      {{"stages.zero.rl.max_prompt_tokens=0"}, "rl.max_prompt_tokens: expected at least 1"},
      {{"stages.zero.rl.sampling.temperature=0"},
       "stages[1].rl.sampling.temperature: expected a number above 0 to 100, got 0"},
      {{"stages.zero.rl.sampling.top_k=-1"}, "rl.sampling.top_k: expected at least 0"},
      {{"stages.zero.rl.sampling.top_p=0"}, "rl.sampling.top_p: expected a number above 0 to 1"},
      {{"stages.zero.rl.sampling.top_p=1.5"}, "rl.sampling.top_p: expected"},
      {{"stages.zero.rl.sampling.min_p=1"}, "rl.sampling.min_p: expected a number from 0 and below 1"},
      {{"stages.zero.rl.sampling.max_new_tokens=0"}, "rl.sampling.max_new_tokens: expected at least 1"},
      {{"stages.zero.rl.sampling.min_new_tokens=257"},
       "min_new_tokens: expected at most max_new_tokens (256), got 257"},
      {{"stages.zero.rl.sampling.stop=[\"\"]"}, "rl.sampling.stop[0]: required"},
      {{"stages.zero.rl.sampling.repetition_penalty=0"}, "rl.sampling.repetition_penalty: expected a number above 0"},
      {{"stages.zero.rl.sampling.presence_penalty=101"}, "rl.sampling.presence_penalty: expected"},
      {{"stages.zero.rl.sampling.frequency_penalty=-101"}, "rl.sampling.frequency_penalty: expected"},
      {{"stages.zero.rl.sampling.logit_bias=[{bias: 1}]"}, "rl.sampling.logit_bias[0].token_id: required"},
      {{"stages.zero.rl.sampling.logit_bias=[{token_id: -1, bias: 1}]"}, "logit_bias[0].token_id: expected at least 0"},
      {{"stages.zero.rl.sampling.thinking.max_tokens=-1"}, "rl.sampling.thinking.max_tokens: expected at least 0"},
      {{"stages.zero.rl.sampling.thinking.ignore_ends=1025"}, "thinking.ignore_ends: expected at most 1024"},
      {{"stages.zero.rl.sampling.thinking.end=''"}, "rl.sampling.thinking.end: required"},
      {{"stages.zero.rl.sampling.thinking.wait_text=''"}, "rl.sampling.thinking.wait_text: required"},
      {{"stages.zero.rl.sampling.thinking.switch_penalty=-1"}, "thinking.switch_penalty: expected a number"},
      {{"stages.zero.rl.sampling.thinking.switch_window=-1"}, "thinking.switch_window: expected at least 0"},
      {{"stages.zero.rl.sampling.thinking.switch_words=['']"}, "thinking.switch_words[0]: required"},
      {{"stages.zero.rl.sampling.stop_token_ids=[-1]"}, "rl.sampling.stop_token_ids[0]: expected at least 0"},
      {{"stages.zero.rl.rewards=[{weight: 1}]"}, "stages[1].rl.rewards[0]: the component's kind is required"},
      {{"stages.zero.rl.rewards=[{length: {}, weight: 0}]"}, "stages[1].rl.rewards: every weight is 0"},
      {{"stages.zero.rl.rewards=[{format: {}}, {format: {}}]"},
       "stages[1].rl.rewards[1].name: an earlier component is named 'format' too"},
      {{"stages.zero.rl.rewards.1.format.answer_pattern=\"[0-9\""},
       "stages[1].rl.rewards[1].format.answer_pattern: the regular expression (PCRE2) '[0-9' does not compile at "
       "byte "},
      // Compiles elsewhere, but not under the reward server's rules.
      {{"stages.zero.rl.rewards.1.format.answer_pattern=\"\\\\C+\""},
       "stages[1].rl.rewards[1].format.answer_pattern: the regular expression (PCRE2) '\\C+' does not compile at "
       "byte "},
      {{"stages.zero.rl.rewards.1.format.answer_pattern=" + std::string(4097, 'a')},
       "stages[1].rl.rewards[1].format.answer_pattern: expected a regular expression (PCRE2) of at most 4096 bytes, "
       "got "
       "4097"},
      {{"stages.zero.rl.rewards.2.language.words={en: {words: [a]}, zh: {words: [a]}}"},
       "stages[1].rl.rewards[2].language.words.zh.words: 'a' is a word of 'en' already"},
      {{"stages.zero.rl.rewards.2.language.words={en: {}}"}, "language.words.en.words: required: at least one word"},
      {{"stages.zero.rl.rewards.4.overlong.max_tokens=0"},
       "rewards[4].overlong.max_tokens: expected at least 1, got 0"},
      {{"stages.zero.rl.rewards.4.overlong.buffer_tokens=300"},
       "rewards[4].overlong.buffer_tokens: expected at most max_tokens (256), got 300"},
      {{"stages.zero.rl.algorithm.clip_low=1.5"}, "rl.algorithm.clip_low: expected a number from 0 to 1, got 1.5"},
      {{"stages.zero.rl.algorithm.clip_high=-1"}, "rl.algorithm.clip_high: expected"},
      {{"stages.zero.rl.algorithm.kl_coefficient=-1"}, "rl.algorithm.kl_coefficient: expected"},
      {{"stages.zero.rl.algorithm.advantage_epsilon=2"}, "rl.algorithm.advantage_epsilon: expected"},
      {{"stages.zero.rl.evaluate={}"}, "stages[1].rl.evaluate.evaluation.dataset: required"},
      {{"stages.zero.rl.evaluate.every_steps=-1"}, "rl.evaluate.every_steps: expected at least 0"},
      {{"stages.zero.rl.evaluate.at_start=false", "stages.zero.rl.evaluate.at_end=false"},
       "stages[1].rl.evaluate: no evaluation would ever take place"},
      {{"stages.zero.rl.evaluate.keep_best=true", "stages.zero.rl.evaluate.at_end=false"},
       "keep_best: only the start is evaluated"},
      {{"stages.zero.rl.evaluate.keep_best=true", "stages.zero.rl.evaluate.evaluation.rewards=[{length: {}}]"},
       "keep_best: the best checkpoint has the highest pass@1"},
      {{"stages.final.evaluate.evaluation.samples=0"}, "stages[2].evaluate.evaluation.samples: expected at least 1"},
      {{"stages.final.evaluate.evaluation.max_problems=-1"}, "evaluation.max_problems: expected at least 0"},
      {{"stages.final.evaluate={}"}, "stages[2].evaluate.evaluation.dataset: required"},
      {{"stages.out.export.path=\"\""}, "stages[3].export.path: required"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ErrorWith(c.assignments), HasSubstr(c.error)) << testing::PrintToString(c.assignments);
  }
}

TEST(Resolve, WhatOnlyLooksBadIsAccepted) {
  for (const char* assignment : {"stages.final.evaluate.evaluation.sampling.temperature=0",  // greedy
                                 "stages.final.evaluate.evaluation.rewards=[{accuracy: {}, weight: 0}]",
                                 "stages.zero.rl.optimizer.max_grad_norm=0", "stages.zero.rl.rewards.3.weight=-0.5",
                                 "stages.base.from_checkpoint=somewhere"}) {
    EXPECT_EQ(ErrorWith({assignment}), "accepted") << assignment;
  }
}

TEST(Resolve, TheModelIsNeededOnlyWhereAStageStartsFromIt) {
  v1::RunSpec spec = Minimal();
  spec.clear_model();
  EXPECT_THAT(std::string(ResolveRunSpec(spec).status().message()),
              HasSubstr("model: required: stage 'base' starts from it"));
  spec.mutable_stages(0)->set_from_checkpoint("c");
  EXPECT_TRUE(ResolveRunSpec(spec).ok());
}

TEST(Resolve, EvaluationsTakeTheNearestRewards) {
  v1::RunSpec spec = Minimal();
  // Before the rl stage: the one after it serves.
  ASSERT_TRUE(ApplyOverride(&spec, "stages.base.pretrain.evaluate={evaluation: {dataset: test}}").ok());
  const auto resolved = ResolveRunSpec(spec);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->stages(0).pretrain().evaluate().evaluation().rewards_size(), 5);
  spec.mutable_stages()->DeleteSubrange(1, 1);
  EXPECT_THAT(std::string(ResolveRunSpec(spec).status().message()),
              HasSubstr("stages[0].pretrain.evaluate.evaluation.rewards: required: the run has no rl stage"));
}

TEST(Resolve, UnspecifiedAndUnknownEnumNumbersAreRefused) {
  v1::RunSpec spec = Minimal();
  spec.mutable_numerics()->set_dtype(v1::DTYPE_UNSPECIFIED);
  EXPECT_EQ(std::string(ResolveRunSpec(spec).status().message()), "numerics.dtype: expected a value of DType, got 0");
  spec = Minimal();
  (*spec.mutable_datasets())["train"].mutable_sources(0)->set_template_(static_cast<v1::PromptTemplate>(99));
  EXPECT_EQ(std::string(ResolveRunSpec(spec).status().message()),
            "datasets.train.sources[0].template: expected a value of PromptTemplate, got 99");
}

TEST(Resolve, NonFiniteNumbersFromTheApiAreRefused) {
  v1::RunSpec spec = Minimal();
  spec.mutable_stages(1)->mutable_rl()->mutable_optimizer()->set_learning_rate(std::nan(""));
  EXPECT_THAT(std::string(ResolveRunSpec(spec).status().message()), HasSubstr("got a non-finite number"));
}

TEST(Resolve, StageKindsHaveNames) {
  const v1::RunSpec spec = Minimal();
  EXPECT_EQ(StageKindName(spec.stages(0)), "pretrain");
  EXPECT_EQ(StageKindName(spec.stages(1)), "rl");
  EXPECT_EQ(StageKindName(spec.stages(2)), "evaluate");
  EXPECT_EQ(StageKindName(spec.stages(3)), "export");
  EXPECT_EQ(StageKindName(v1::StageSpec()), "");
  EXPECT_TRUE(IsTrainingStage(spec.stages(0)));
  EXPECT_FALSE(IsTrainingStage(spec.stages(2)));
}

}  // namespace
}  // namespace hone
