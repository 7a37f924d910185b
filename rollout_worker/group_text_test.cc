#include "rollout_worker/group_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/test_models.h"

namespace hone {
namespace {

using testing::HasSubstr;

ModelFiles Files(const std::string& post_processor = "null") {
  const char* words[] = {"<unk>", "<eos>", "<think>", "</think>", "<answer>", "</answer>", "a", "b", "c", "d"};
  std::string vocab;
  for (int i = 0; i < 10; ++i) vocab += std::string(i ? ", \"" : "\"") + words[i] + "\": " + std::to_string(i);
  model::ModelConfig config = model::TinyConfigs(32, 4, 2, 16, 48, 10, 1)[0].config;
  config.max_positions = 20;
  config.eos_token_ids = {1};
  return {
      {"config.json", model::ModelConfigJson(config, false)},
      {"tokenizer.json",
       "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], \"normalizer\": null, "
       "\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"post_processor\": " +
           post_processor +
           ", \"decoder\": null, "
           "\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"<unk>\", \"vocab\": {" +
           vocab + "}}}"}};
}

class GroupTextTest : public testing::Test {
 protected:
  GroupTextTest() : text_(ReadModelText(Files()).value()) {
    context_.mutable_sampling()->set_max_new_tokens(12);
    context_.set_overlong(v1::OVERLONG_POLICY_DROP);
    task_.set_template_(v1::PROMPT_TEMPLATE_RAW);
  }
  absl::StatusOr<model::FramedPrompt> Prepare(const std::string& prompt) {
    task_.mutable_prompt()->set_prompt(prompt);
    return PreparePrompt(task_, context_, *text_);
  }
  int Thinking(const std::string& completion, bool opened) {
    return ThinkingTokens(text_->tokenizer->Encode(completion), opened, *text_->tokenizer);
  }
  std::shared_ptr<const ModelText> text_;
  v1::TaskContext context_;
  v1::GroupTask task_;
};

TEST_F(GroupTextTest, PromptsThatFitAreWhole) {
  task_.set_prompt_suffix(" d");
  const auto prompt = Prepare("a b c a b c a");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->text, "a b c a b c a d");
  EXPECT_THAT(prompt->tokens, testing::ElementsAre(6, 7, 8, 6, 7, 8, 6, 9));  // 8 of 20 - 12
}

TEST_F(GroupTextTest, OverlongPromptsFollowThePolicy) {
  const auto dropped = Prepare("a b c a b c a b c");
  EXPECT_EQ(dropped.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(dropped.status().message()), HasSubstr("overlong: the prompt has 9 tokens, at most 8 fit"));
  context_.set_overlong(v1::OVERLONG_POLICY_FAIL);
  EXPECT_THAT(std::string(Prepare("a b c a b c a b c").status().message()), HasSubstr("overlong: fail"));
  context_.set_overlong(v1::OVERLONG_POLICY_TRUNCATE_LEFT);
  context_.set_max_prompt_tokens(3);
  EXPECT_THAT(Prepare("a b c d a")->tokens, testing::ElementsAre(8, 9, 6));  // the oldest are cut
  context_.mutable_sampling()->set_max_new_tokens(20);
  EXPECT_FALSE(Prepare("a").ok());
}

TEST_F(GroupTextTest, PlainPromptsGetWhatTheTokenizerPutsBeforeATextAndKeepIt) {
  text_ = ReadModelText(Files(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<eos>"}}, {"Sequence": {"id": "A"}}],
    "special_tokens": {"<eos>": {"ids": [1]}}})"))
              .value();
  const auto prompt = Prepare("a b");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->text, "a b");
  EXPECT_THAT(prompt->tokens, testing::ElementsAre(1, 6, 7));
  EXPECT_THAT(Prepare("<eos> a b")->tokens, testing::ElementsAre(1, 6, 7));
  context_.set_overlong(v1::OVERLONG_POLICY_TRUNCATE_LEFT);
  context_.set_max_prompt_tokens(3);
  EXPECT_THAT(Prepare("a b c d a")->tokens, testing::ElementsAre(1, 9, 6));
  task_.set_template_(v1::PROMPT_TEMPLATE_R1_ZERO);
  context_.clear_max_prompt_tokens();
  context_.mutable_sampling()->set_max_new_tokens(1);
  EXPECT_EQ(Prepare("a")->tokens.front(), 1);
}

TEST_F(GroupTextTest, WhatCannotBeRenderedSaysWhy) {
  EXPECT_THAT(std::string(Prepare("").status().message()), HasSubstr("no token"));
  task_.set_template_(v1::PROMPT_TEMPLATE_CHAT);
  EXPECT_FALSE(Prepare("a").ok());
}

TEST_F(GroupTextTest, ThinkingIsWhatTheFirstBlockHolds) {
  EXPECT_EQ(Thinking("<think> a b </think> <answer> c </answer>", false), 2);
  EXPECT_EQ(Thinking("d <think> a </think> <think> b b b </think>", false), 1);
  EXPECT_EQ(Thinking("a b <answer> c </answer>", false), 0);
  EXPECT_EQ(Thinking("<think> a b c", false), 3);           // never closed
  EXPECT_EQ(Thinking("a b </think> <answer> c", true), 2);  // opened by the prompt
  EXPECT_EQ(Thinking("<think> </think>", false), 0);
  EXPECT_EQ(Thinking("", true), 0);
  EXPECT_TRUE(engine::OpensThinking("Assistant: <think>\n"));
  EXPECT_FALSE(engine::OpensThinking("<think> a </think> b"));
}

TEST_F(GroupTextTest, StepsEndInTheTokenThatHoldsTheirLastByte) {
  v1::Trajectory trajectory;
  for (const int32_t token : {2, 6, 7, 3}) trajectory.add_tokens(token);
  trajectory.set_text("<think> a b </think>");
  v1::RewardComponent& component = *trajectory.mutable_verdict()->add_components();
  for (const int32_t end : {0, 7, 8, 9, 11, 20, 99}) component.add_steps()->set_end_byte(end);
  trajectory.mutable_verdict()->add_components();  // judges the whole
  PlaceSteps(*text_->tokenizer, &trajectory);
  std::vector<int32_t> tokens;
  for (const v1::StepScore& step : component.steps()) tokens.push_back(step.last_token());
  EXPECT_THAT(tokens, testing::ElementsAre(0, 0, 1, 1, 2, 3, 3));
}

TEST_F(GroupTextTest, RecordsAddUp) {
  const engine::SampledCompletion completion = {.tokens = {2, 6, 7, 3, 4, 8, 5, 1},
                                                .logprobs = std::vector<float>(8, -0.5f),
                                                .finish = engine::FinishReason::kEndOfSequence};
  const v1::Trajectory t =
      MakeTrajectory(completion, 3, false, *text_->tokenizer, {.run = "r", .number = 9, .root_hash = "h"}, "key");
  EXPECT_EQ(t.sample_index(), 3);
  EXPECT_EQ(t.tokens_size(), 8);
  EXPECT_EQ(t.rollout_logprobs_size(), 8);
  EXPECT_EQ(t.sources(0).count(), 8);
  EXPECT_EQ(t.segments(0).count(), 8);
  EXPECT_EQ(t.segments(0).version(), 9);
  EXPECT_TRUE(t.segments(0).replayable());
  EXPECT_EQ(t.turns(0).token_count(), 8);
  EXPECT_EQ(t.finish_reason(), v1::FINISH_REASON_END_OF_SEQUENCE);
  EXPECT_EQ(t.thinking_tokens(), 2);
  EXPECT_EQ(t.text(), "<think> a b </think> <answer> c </answer> <eos>");
}

TEST(ReadModelTextTest, NamesTheMissingFile) {
  ModelFiles files = Files();
  files.erase("tokenizer.json");
  EXPECT_THAT(std::string(ReadModelText(files).status().message()), HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace hone
