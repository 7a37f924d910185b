#include "cli/testing/tiny_run.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "cli/testing/run_hone.h"

namespace hone::cli {
namespace {

constexpr char kRun[] = R"(
name: tiny
seed: 3
model: {path: tiny-data/model, random_init: true}
datasets:
  mixture: {sources: [{path: tiny-data/pretrain.jsonl}]}
  problems: {sources: [{path: tiny-data/train.jsonl, prompt_suffix: " 1 + 2 + 3 + 4 + 5 ="}]}
  held-out: {sources: [{path: tiny-data/test.jsonl}]}
checkpoints: {every_steps: 2}
stages:
  - name: base
    pretrain: {dataset: mixture, steps: 8, batch_size: 16, optimizer: {learning_rate: 2e-3}}
  - name: zero
    rl:
      dataset: problems
      steps: 6
      prompts_per_step: 4
      group_size: 4
      sampling: {max_new_tokens: 24}
      rewards: [{accuracy: {}}, {format: {}}]
      optimizer: {learning_rate: 3e-4}
      evaluate: {evaluation: {dataset: held-out, sampling: {max_new_tokens: 24}}}
  - name: model
    export: {}
)";

}  // namespace

bool MakeTinyWorld() {
  EXPECT_TRUE(RemoveTree("tiny-data").ok());
  const Result made = Hone("data make small-world --out tiny-data --pretrain_rows 400 --train_rows 64 --test_rows 16");
  EXPECT_EQ(made.exit, 0) << made.err;
  const absl::Status written = WriteFileAtomic("tiny.yaml", kRun);
  EXPECT_TRUE(written.ok()) << written;
  return made.exit == 0 && written.ok();
}

std::string TinyRun(const std::string& state, const std::string& output) {
  return absl::StrCat("--state ", state, " --threads 1 --run tiny.yaml --set output_dir=", output);
}

nlohmann::json Summary(const std::string& output) {
  const auto text = ReadFile(output + "/summary.json");
  EXPECT_TRUE(text.ok()) << text.status();
  return nlohmann::json::parse(text.ok() ? *text : "{}");
}

}  // namespace hone::cli
