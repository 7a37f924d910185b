#include "rollout_worker/engine/thinking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "model/tokenizer/test_tokenizers.h"
#include "rollout_worker/engine/logit_editor.h"

namespace hone::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<model::Tokenizer> Words(const std::vector<std::string>& words) { return model::WordTokenizer(words); }
std::unique_ptr<model::Tokenizer> Characters() { return model::CharacterTokenizer({".<", "k>"}); }

// What becomes of a completion of which a model draws `drawn`, token by token, whatever is made of it.
struct Written {
  std::vector<int32_t> tokens;
  std::string text, forced;  // forced: an 'f' for each forced token, an 's' for each sampled one
};
Written Write(const ThinkingControls& controls, const model::Tokenizer& tokenizer, const std::string& drawn,
              bool opened) {
  const auto plan = ThinkingPlan::Make(controls, &tokenizer);
  EXPECT_TRUE(plan.ok()) << plan.status();
  ThinkingState state(&*plan, opened);
  Written written;
  for (const int32_t token : tokenizer.Encode(drawn)) {
    written.tokens.push_back(token);
    written.forced += 's';
    const ThinkingState::Action action = state.Push(token, /*ends=*/false);
    written.tokens.resize(written.tokens.size() - static_cast<size_t>(action.remove));
    written.forced.resize(written.tokens.size());
    written.tokens.insert(written.tokens.end(), action.force.begin(), action.force.end());
    written.forced.append(action.force.size(), 'f');
  }
  written.text = tokenizer.Decode(written.tokens);
  return written;
}

// The cases of the s1 paper's appendix, as word tokens.
TEST(ThinkingTest, EndsOfThinkingBecomeWait) {
  const auto tokenizer = Words({"?", "a", "b", "c", "d", "END", "Wait", "Final", "Answer:"});
  ThinkingControls controls = {.ignore_ends = 2, .begin = "", .end = "END"};
  Written written = Write(controls, *tokenizer, "a END b END c END d", false);
  EXPECT_EQ(written.text, "a Wait b Wait c END d");
  EXPECT_EQ(written.forced, "sfsfsss");

  controls.ignore_ends = 0;
  EXPECT_EQ(Write(controls, *tokenizer, "a END", false).text, "a END");

  // The limit is hit while b is produced: no further Wait.
  controls = {.max_tokens = 3, .ignore_ends = 2, .begin = "", .end = "END"};
  written = Write(controls, *tokenizer, "a END b", false);
  EXPECT_EQ(written.text, "a Wait b END Final Answer:");
  EXPECT_EQ(written.forced, "sfsfff");
}

TEST(ThinkingTest, TheLimitForcesTheEndOnANewLine) {
  const auto tokenizer = Characters();
  const ThinkingControls controls = {.max_tokens = 4, .answer_cue = "\nA:"};
  EXPECT_EQ(Write(controls, *tokenizer, "abcd", true).text, "abcd\n</think>\nA:");
  EXPECT_EQ(Write(controls, *tokenizer, "abc\n", true).text, "abc\n</think>\nA:");
  // The block may be opened by the completion; what comes before does not count.
  EXPECT_EQ(Write(controls, *tokenizer, "Hm. <think>wxyz", false).text, "Hm. <think>wxyz\n</think>\nA:");
  // Ended by itself in time: nothing is forced, and nothing later is a thought.
  EXPECT_EQ(Write(controls, *tokenizer, "abc</think>abcdefgh", false).text, "abc</think>abcdefgh");
}

// An end of several tokens, the first of which holds text of the thought, is taken away whole; the text stays.
TEST(ThinkingTest, AnEndOfSeveralTokensIsTakenAway) {
  const auto tokenizer = Characters();
  const ThinkingControls controls = {.ignore_ends = 1};
  const Written written = Write(controls, *tokenizer, "so x.</think>y</think>z", true);
  EXPECT_EQ(written.text, "so x.Waity</think>z");
  EXPECT_EQ(tokenizer->Encode("x.<").size(), 2u) << "the case needs a token that holds '.' and '<'";
  EXPECT_EQ(written.forced.substr(0, 10),
            "ssss"
            "fffff"
            "s");
}

TEST(ThinkingTest, WaitKeepsToTheLimit) {
  const auto tokenizer = Words({"?", "a", "END", "Wait", "moment", "Final", "Answer:"});
  const ThinkingControls controls = {
      .max_tokens = 3, .ignore_ends = 9, .wait_text = "Wait a moment", .begin = "", .end = "END"};
  EXPECT_EQ(Write(controls, *tokenizer, "a END", false).text, "a Wait a END Final Answer:");
  EXPECT_EQ(Write({.max_tokens = 1, .ignore_ends = 9, .begin = "", .end = "END"}, *tokenizer, "END", false).text,
            "Wait END Final Answer:");
}

TEST(ThinkingTest, AnEndOfSequenceIsAnEndOfThinking) {
  const auto tokenizer = Words({"?", "a", "END", "Wait", "<eos>"});
  const auto plan = ThinkingPlan::Make({.ignore_ends = 1, .begin = "", .end = "END"}, tokenizer.get());
  ASSERT_TRUE(plan.ok());
  ThinkingState state(&*plan, false);
  EXPECT_FALSE(state.Push(1, false).any());
  ThinkingState::Action action = state.Push(4, true);
  EXPECT_EQ(action.remove, 1);
  EXPECT_THAT(action.force, ElementsAre(3));
  action = state.Push(4, true);
  EXPECT_EQ(action.remove, 1);
  EXPECT_THAT(action.force, ElementsAre(2));
  EXPECT_FALSE(state.Push(4, true).any()) << "after thinking it ends the sequence";
}

// Methods' test of TIP: logits [2, 1.5, 0], alpha 3: softmax 0.062890, 0.766157, 0.170953 inside of the window, and
// 0.574097, 0.348207, 0.077696 behind it.
TEST(ThinkingTest, SwitchTokensArePenalizedInsideOfTheWindow) {
  const auto tokenizer = Words({"?", "a", "alternatively", "END"});
  const ThinkingControls controls = {.begin = "", .end = "END", .switch_penalty = 3, .switch_window = 600};
  const auto plan = ThinkingPlan::Make(controls, tokenizer.get());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->switch_tokens(), testing::Contains(2));
  ThinkingState state(&*plan, false);
  const auto softmax = [&] {
    double weights[3] = {2, 1.5, 0}, sum = 0;
    if (state.PenalizesSwitches()) weights[0] -= static_cast<double>(controls.switch_penalty);
    for (double& weight : weights) sum += weight = std::exp(weight);
    return std::vector<double>{weights[0] / sum, weights[1] / sum, weights[2] / sum};
  };
  const auto inside = ElementsAre(testing::DoubleNear(0.062890, 1e-6), testing::DoubleNear(0.766157, 1e-6),
                                  testing::DoubleNear(0.170953, 1e-6));
  const auto behind = ElementsAre(testing::DoubleNear(0.574097, 1e-6), testing::DoubleNear(0.348207, 1e-6),
                                  testing::DoubleNear(0.077696, 1e-6));
  for (int t = 0; t < 599; ++t) state.Push(1, false);
  EXPECT_THAT(softmax(), inside) << "t - Psi = 599";
  state.Push(1, false);
  EXPECT_THAT(softmax(), behind) << "t - Psi = 600";
  state.Push(2, false);  // a switch: the window begins with it
  for (int t = 1; t < 599; ++t) state.Push(1, false);
  EXPECT_THAT(softmax(), inside);
  state.Push(1, false);
  EXPECT_THAT(softmax(), behind);
  state.Push(2, false);
  state.Push(3, false);
  EXPECT_THAT(softmax(), behind) << "thinking is over";
}

TEST(ThinkingTest, SwitchWordsAreFoundInTheirSpellings) {
  const auto tokenizer = Characters();
  const auto plan = ThinkingPlan::Make({.switch_penalty = 1, .switch_words = {"but", "or"}}, tokenizer.get());
  ASSERT_TRUE(plan.ok());
  const auto id = [&](const char* piece) { return tokenizer->FindToken(piece).value(); };
  EXPECT_THAT(plan->switch_tokens(), testing::UnorderedElementsAre(id("b"), id("B"), id("o"), id("O")));
}

TEST(ThinkingTest, TextsOfNoTokenAreRefused) {
  const auto tokenizer = Words({"?", "a"});
  const auto message = [&](const ThinkingControls& controls) {
    return std::string(ThinkingPlan::Make(controls, tokenizer.get()).status().message());
  };
  EXPECT_THAT(message({.ignore_ends = 1, .wait_text = " "}), HasSubstr("thinking.wait_text"));
  EXPECT_THAT(message({.max_tokens = 1, .end = "\n"}), HasSubstr("thinking.end"));
}

// What a client was shown is not taken away again.
TEST(ThinkingTest, WhatMayBeTakenAwayIsKnownBefore) {
  const auto tokenizer = model::CharacterTokenizer({"ab"});
  const auto plan = ThinkingPlan::Make({.ignore_ends = 1, .begin = "a", .end = "b"}, tokenizer.get());
  ASSERT_TRUE(plan.ok());
  ThinkingState state(&*plan, false);
  EXPECT_FALSE(state.Push(tokenizer->FindToken("ab").value(), false).any());
  EXPECT_EQ(state.Revocable(), 1) << "the end stands behind the beginning, in one token";
  EXPECT_EQ(state.Push(tokenizer->FindToken("x").value(), false).remove, 2);

  const auto tags = ThinkingPlan::Make({.ignore_ends = 1}, tokenizer.get());
  ASSERT_TRUE(tags.ok());
  ThinkingState open(&*tags, true);
  std::vector<int> revocable;
  for (const int32_t token : tokenizer->Encode("x</thi<")) {
    open.Push(token, false);
    revocable.push_back(open.Revocable());
  }
  EXPECT_THAT(revocable, ElementsAre(0, 1, 2, 3, 4, 5, 1));
}

TEST(ThinkingTest, PromptsThatOpenABlock) {
  EXPECT_TRUE(OpensThinking("Assistant: <think>\n"));
  EXPECT_FALSE(OpensThinking("<think> a </think> b"));
  EXPECT_FALSE(OpensThinking("  "));
  EXPECT_TRUE(OpensThinking("x <thought>", "<thought>"));
  EXPECT_FALSE(OpensThinking("x", ""));
}

TEST(LogitEditorTest, EditsInOrder) {
  const LogitControls controls = {
      .bias = {{0, 1.0f}, {4, -2.0f}}, .repetition_penalty = 2, .presence_penalty = 0.5f, .frequency_penalty = 0.25f};
  const std::vector<int32_t> prompt = {0, 1};
  LogitEditor editor(&controls, prompt);
  for (const int32_t token : {2, 2, 3, 5}) editor.Add(token);
  editor.Remove(5);
  std::vector<float> logits = {1, -1, 4, -4, 1, 7};
  editor.Edit(logits);
  // 0: (1 + 1) / 2. 1: -1 * 2. 2: 4 / 2 - 0.5 - 2 * 0.25. 3: -4 * 2 - 0.5 - 0.25. 4: 1 - 2. 5: taken away again.
  EXPECT_THAT(logits, ElementsAre(1, -2, 1, -8.75f, -1, 7));
}

}  // namespace
}  // namespace hone::engine
