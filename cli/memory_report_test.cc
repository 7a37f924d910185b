#include "cli/memory_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/files.h"
#include "cli/output.h"

namespace hone::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kGiB = int64_t{1} << 30;

class MemoryReportTest : public testing::Test {
 protected:
  MemoryReportTest() {
    EXPECT_TRUE(RemoveTree("memory-report").ok());
    EXPECT_TRUE(CreateDirectories("memory-report/model").ok());
    EXPECT_TRUE(WriteFileAtomic("memory-report/model/config.json", R"({
      "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000, "hidden_size": 512,
      "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4,
      "max_position_embeddings": 1024, "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": true})")
                    .ok());
    spec_.mutable_model()->set_path("memory-report/model");
    v1::StageSpec* base = spec_.add_stages();
    base->set_name("base");
    base->mutable_sft()->set_batch_size(2);
    v1::StageSpec* zero = spec_.add_stages();
    zero->set_name("zero");
    zero->set_from("base");
    v1::RlStage* rl = zero->mutable_rl();
    rl->set_prompts_per_step(4);
    rl->set_group_size(8);
    rl->set_minibatches(2);
    rl->set_max_prompt_tokens(100);
    rl->mutable_sampling()->set_max_new_tokens(156);
    v1::StageSpec* model = spec_.add_stages();
    model->set_name("model");
    model->set_from("zero");
    model->mutable_export_();
  }
  v1::RunSpec spec_;
};

TEST_F(MemoryReportTest, TheLargestStageOfEachProcessIsPlanned) {
  const v1::MemoryPlan plan = MakeMemoryPlan(spec_, {.available_bytes = 64 * kGiB, .threads = 4});
  EXPECT_EQ(plan.unavailable(), "");
  EXPECT_EQ(plan.learner().stage(), "zero");
  EXPECT_EQ(plan.learner().model_path(), "memory-report/model");
  EXPECT_EQ(plan.micro_batch_tokens(), 16 * 255);
  EXPECT_EQ(plan.rollout_worker().stage(), "zero");
  EXPECT_EQ(plan.sequence_tokens(), 256);
  EXPECT_EQ(plan.kv_bytes_per_token(), 2 * 4 * 64 * 8 * 4);
  EXPECT_EQ(plan.total_bytes(), plan.learner().total_bytes() + plan.rollout_worker().total_bytes());
  EXPECT_TRUE(plan.advice().empty());
  for (const auto* process : {&plan.learner(), &plan.rollout_worker()}) {
    int64_t sum = 0;
    for (const v1::MemoryPlan::Part& part : process->parts()) sum += part.bytes();
    EXPECT_EQ(sum, process->total_bytes());
  }
  const std::string text = MemoryText(plan);
  EXPECT_THAT(text, HasSubstr("gradients"));
  EXPECT_THAT(text, HasSubstr("of a micro-batch of 4,080 tokens"));
  EXPECT_THAT(text, HasSubstr("sequences of 256 tokens at once"));
  EXPECT_THAT(text, HasSubstr("available on this machine now: 64.00 GiB\n"));
  EXPECT_THAT(text, Not(HasSubstr("reference model")));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_THAT(line, testing::StartsWith("# "));
}

TEST_F(MemoryReportTest, WhatDoesNotFitSaysWhatToChange) {
  spec_.mutable_stages(1)->mutable_rl()->mutable_algorithm()->set_kl_coefficient(0.1);
  const v1::MemoryPlan plan = MakeMemoryPlan(spec_, {.available_bytes = kGiB, .threads = 4});
  const std::string text = MemoryText(plan);
  EXPECT_THAT(text, HasSubstr("reference model"));
  EXPECT_THAT(text, HasSubstr("this does not fit:\n"));
  EXPECT_THAT(text, HasSubstr("numerics.dtype: bf16 saves "));
  EXPECT_THAT(text, HasSubstr("memory.recompute: mlp saves "));
  EXPECT_THAT(text, HasSubstr("memory.recompute: layer saves "));
  EXPECT_THAT(text, HasSubstr("memory.micro_batch_tokens: 2040 saves "));
  EXPECT_THAT(text, HasSubstr("optimizer.moments: bf16 in every stage saves "));
  EXPECT_THAT(text, HasSubstr("optimizer.moments: fp8 in every stage saves "));
  EXPECT_THAT(text, HasSubstr("stages.zero.rl.algorithm.kl_coefficient: 0 saves "));
  EXPECT_THAT(text, HasSubstr("stages.zero.rl.max_prompt_tokens: 50 saves "));
  EXPECT_THAT(text, HasSubstr("hone up --kv_memory_mib 256 saves "));
  EXPECT_THAT(text, Not(HasSubstr("stages.base"))) << "not the largest stage: no help";
  // Without the memory known there is nothing to compare with.
  const v1::MemoryPlan unknown = MakeMemoryPlan(spec_, {});
  EXPECT_TRUE(unknown.advice().empty());
  EXPECT_THAT(MemoryText(unknown), Not(HasSubstr("available")));
}

TEST_F(MemoryReportTest, TheWorkersFlagsArePlannedWithAndNotAdvisedAgain) {
  const Machine machine = {.available_bytes = kGiB, .threads = 4};
  const v1::MemoryPlan usual = MakeMemoryPlan(spec_, machine);
  const v1::MemoryPlan small = MakeMemoryPlan(spec_, machine, {.kv_memory_mib = 128, .max_sequences = 64});
  EXPECT_LT(small.rollout_worker().total_bytes(), usual.rollout_worker().total_bytes());
  EXPECT_EQ(small.sequences_in_cache(), 32) << "of 256 tokens at 16 KiB";
  const std::string text = MemoryText(small);
  EXPECT_THAT(text, HasSubstr("--kv_memory_mib 128, or less where that is enough"));
  EXPECT_THAT(text, HasSubstr("of a step with --max_sequences 64"));
  EXPECT_THAT(text, HasSubstr("numerics.dtype: bf16 saves "));
  EXPECT_THAT(text, Not(HasSubstr("hone up --")));
  // Where the cache holds all sequences at full length, fewer of them are what saves.
  const v1::MemoryPlan large = MakeMemoryPlan(spec_, machine, {.kv_memory_mib = 8192});
  EXPECT_THAT(MemoryText(large), HasSubstr("hone up --max_sequences 64 saves "));
}

TEST_F(MemoryReportTest, ARunWithoutSamplingHasNoWorker) {
  spec_.mutable_stages()->DeleteSubrange(1, 2);
  const v1::MemoryPlan plan = MakeMemoryPlan(spec_, {.available_bytes = 64 * kGiB});
  EXPECT_FALSE(plan.has_rollout_worker());
  EXPECT_EQ(plan.learner().stage(), "base");
  EXPECT_THAT(MemoryText(plan), Not(HasSubstr("rollout")));
}

TEST_F(MemoryReportTest, WithoutTheModelThereIsOneLine) {
  spec_.mutable_model()->set_path("memory-report/absent");
  v1::MemoryPlan plan = MakeMemoryPlan(spec_, {.available_bytes = kGiB});
  EXPECT_EQ(MemoryText(plan), "# memory: no plan: the model folder memory-report/absent is not there yet\n");
  EXPECT_FALSE(plan.has_learner());
  spec_.mutable_stages(0)->set_from_checkpoint("memory-report");  // a checkpoint holds its model in model/
  EXPECT_EQ(MakeMemoryPlan(spec_, {}).unavailable(), "");
  ASSERT_TRUE(WriteFileAtomic("memory-report/model/config.json", "{\"model_type\": \"mamba\"}").ok());
  plan = MakeMemoryPlan(spec_, {.available_bytes = kGiB});
  EXPECT_THAT(plan.unavailable(), HasSubstr("config.json"));
}

TEST(ThisMachineTest, IsKnown) {
  const Machine machine = ThisMachine();
  EXPECT_GT(machine.available_bytes, 0);
  EXPECT_GE(machine.threads, 1);
}

}  // namespace
}  // namespace hone::cli
