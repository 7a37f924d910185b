#include "reward_server/scorer.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <limits>

#include "hone/v1/reward.pb.h"

namespace hone::reward {
namespace {

using ::testing::HasSubstr;

v1::ScoreGroupRequest Request(const std::string& text) {
  v1::ScoreGroupRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request));
  return request;
}

constexpr char kGood[] =
    "completions { text: '<think> is </think> <answer> 3 </answer> <eos>' finish_reason: FINISH_REASON_END_OF_SEQUENCE "
    "token_count: 8 } ";

TEST(ScorerTest, WeightedSumWithEveryComponentShown) {
  const auto response = ScoreGroup(
      Request(std::string(kGood) +
              "completions { text: '<answer> 3 </answer>' finish_reason: FINISH_REASON_LENGTH token_count: 3 }"
              "rewards { accuracy {} } rewards { weight: 0.5 format { answer_pattern: '[0-9]' } }"
              "rewards { name: 'tokens' weight: 0 length {} } rewards { weight: 2 language {} }"
              "answer: '3' language: 'en'"));
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->verdicts_size(), 2);
  const v1::Verdict& good = response->verdicts(0);
  EXPECT_EQ(good.state(), v1::REWARD_STATE_SCORED);
  EXPECT_EQ(good.reward(), 1 + 0.5 + 2);
  ASSERT_EQ(good.components_size(), 4);
  EXPECT_EQ(good.components(0).name(), "accuracy");
  EXPECT_EQ(good.components(0).weight(), 1);
  EXPECT_EQ(good.components(1).name(), "format");
  EXPECT_EQ(good.components(1).value(), 1);
  EXPECT_EQ(good.components(2).name(), "tokens");
  EXPECT_EQ(good.components(2).value(), 8);
  for (const v1::RewardComponent& component : good.components()) EXPECT_FALSE(component.reason().empty());
  EXPECT_EQ(response->verdicts(1).reward(), 1);
}

TEST(ScorerTest, ALongCompletionPays) {
  const auto response = ScoreGroup(
      Request(std::string(kGood) +
              "rewards { accuracy {} } rewards { overlong { max_tokens: 10 buffer_tokens: 4 } } answer: '3'"));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->verdicts(0).components(1).name(), "overlong");
  EXPECT_EQ(response->verdicts(0).reward(), 1 - 0.5);
  EXPECT_THAT(
      std::string(ScoreGroup(Request("completions {} rewards { overlong { max_tokens: 10 } }")).status().message()),
      HasSubstr("rewards[0]: overlong.buffer_tokens"));
}

TEST(ScorerTest, UnscorableIsAStateOfItsOwn) {
  const std::string rewards = std::string(kGood) + "rewards { accuracy {} } rewards { format {} }";
  const auto response = ScoreGroup(Request(rewards + "answer: 'many'"));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->verdicts(0).state(), v1::REWARD_STATE_UNSCORABLE);
  EXPECT_EQ(response->verdicts(0).components(0).state(), v1::REWARD_STATE_UNSCORABLE);
  EXPECT_EQ(response->verdicts(0).components(1).state(), v1::REWARD_STATE_SCORED);
  EXPECT_EQ(response->verdicts(0).components(1).value(), 1);
}

TEST(ScorerTest, AMeasureWithoutWeightDoesNotDecide) {
  const auto response =
      ScoreGroup(Request(std::string(kGood) + "rewards { weight: 0 accuracy {} } rewards { format {} }"));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->verdicts(0).state(), v1::REWARD_STATE_SCORED);
  EXPECT_EQ(response->verdicts(0).reward(), 1);
  EXPECT_EQ(response->verdicts(0).components(0).state(), v1::REWARD_STATE_UNSCORABLE);
}

TEST(ScorerTest, IllFormedSpecsNameTheirField) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "rewards: expected at least one"},
      {"rewards { accuracy {} } rewards { name: 'x' }", "rewards[1]: expected one of"},
      {"rewards { format { answer_pattern: '(' } }",
       "rewards[0]: format.answer_pattern: the regular expression (PCRE2) '('"},
      {"rewards { format {} } rewards { name: 'format' length {} }", "rewards[1].name: 'format' is there twice"},
      {"rewards { weight: inf length {} }", "rewards[0]: weight: expected a finite number"},
  };
  for (const auto& [text, message] : cases) {
    const auto response = ScoreGroup(Request(text));
    EXPECT_EQ(response.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(response.status().message()), HasSubstr(message));
  }
  v1::ScoreGroupRequest unknown = Request("rewards { accuracy {} }");
  unknown.mutable_rewards(0)->mutable_accuracy()->set_match(static_cast<v1::AnswerMatch>(77));
  EXPECT_THAT(std::string(ScoreGroup(unknown).status().message()), HasSubstr("accuracy.match: unknown value 77"));
}

TEST(ScorerTest, PureFunctionOfTheRequest) {
  const v1::ScoreGroupRequest request =
      Request(std::string(kGood) + "rewards { accuracy {} } rewards { language {} } answer: '3' language: 'en'");
  EXPECT_EQ(ScoreGroup(request)->SerializeAsString(), ScoreGroup(request)->SerializeAsString());
}

}  // namespace
}  // namespace hone::reward
