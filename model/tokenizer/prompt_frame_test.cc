#include "model/tokenizer/prompt_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace hone::model {
namespace {

using testing::ElementsAre;

// Words w2 to w5, the special tokens <bos> and <eos>, and `post_processor`.
std::unique_ptr<Tokenizer> WordTokenizer(const std::string& post_processor) {
  const auto special = [](const char* text, int id) {
    return absl::StrCat(R"({"content": ")", text, R"(", "id": )", id, R"(, "special": true, "normalized": false})");
  };
  auto tokenizer = Tokenizer::FromJson(
      absl::StrCat(R"({"added_tokens": [)", special("<bos>", 0), ", ", special("<eos>", 1),
                   R"(], "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": )", post_processor,
                   R"(, "model": {"type": "WordLevel", "unk_token": "<unk>",
                       "vocab": {"<bos>": 0, "<eos>": 1, "w2": 2, "w3": 3, "w4": 4, "w5": 5, "<unk>": 6}}})"),
      "");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

// As Llama 3 has it, and an end token besides, which must never be put.
std::unique_ptr<Tokenizer> WithBos() {
  return WordTokenizer(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<bos>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<eos>"}}],
    "special_tokens": {"<bos>": {"ids": [0]}, "<eos>": {"ids": [1]}}}]})");
}

std::vector<int32_t> Tokens(const Tokenizer& tokenizer, std::string_view prompt,
                            const PromptSurroundings& surroundings) {
  const auto framed = FramePrompt(tokenizer, prompt, surroundings);
  EXPECT_TRUE(framed.ok()) << framed.status();
  return framed->tokens;
}

TEST(PromptFrameTest, PlainPromptsBeginAsTheTokenizerSays) {
  const auto with = WithBos(), without = WordTokenizer("null");
  EXPECT_THAT(Tokens(*with, "w2 w3", {.suffix = " w4"}), ElementsAre(0, 2, 3, 4));
  EXPECT_THAT(Tokens(*without, "w2 w3", {.suffix = " w4"}), ElementsAre(2, 3, 4));
  EXPECT_THAT(Tokens(*with, "", {}), ElementsAre(0));
  const auto framed = FramePrompt(*with, "w2", {.frame = PromptFrame::kR1Zero});
  EXPECT_THAT(framed->text, testing::EndsWith("User: w2. Assistant:"));
  EXPECT_THAT(framed->text, testing::StartsWith("The following is a dialogue")) << "the text is as rendered";
  EXPECT_EQ(framed->tokens.front(), 0);
  EXPECT_NE(framed->tokens[1], 0);
}

TEST(PromptFrameTest, APrefixThatIsThereIsNotDoubled) {
  const auto with = WithBos();
  EXPECT_THAT(Tokens(*with, "<bos>w2", {}), ElementsAre(0, 2));
  EXPECT_THAT(Tokens(*with, "w2<bos>", {}), ElementsAre(0, 2, 0)) << "elsewhere it is the writer's own";
  EXPECT_THAT(EncodeFromStart(*with, "<bos>"), ElementsAre(0));
}

TEST(PromptFrameTest, AChatTemplateWritesItsOwnPrefix) {
  const auto with = WithBos();
  const ChatTemplate llama = ChatTemplate::ForFamily(ChatTemplate::Family::kLlama3, "", "<bos>");
  const auto tokens = Tokens(*with, "w2", {.frame = PromptFrame::kChat, .chat = &llama});
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 0), 1);
  const ChatTemplate chat_ml = ChatTemplate::ForFamily(ChatTemplate::Family::kChatMl, "", "");
  EXPECT_NE(Tokens(*with, "w2", {.frame = PromptFrame::kChat, .chat = &chat_ml}).front(), 0);
  EXPECT_EQ(FramePrompt(*with, "w2", {.frame = PromptFrame::kChat}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PromptFrameTest, CuttingKeepsThePrefix) {
  const auto with = WithBos(), without = WordTokenizer("null");
  const auto cut = [](const Tokenizer& tokenizer, std::vector<int32_t> tokens, size_t limit) {
    const size_t before = tokens.size();
    const size_t gone = CutOldest(tokenizer, limit, &tokens);
    EXPECT_EQ(tokens.size() + gone, before);
    return tokens;
  };
  EXPECT_THAT(cut(*with, {0, 2, 3, 4}, 3), ElementsAre(0, 3, 4));
  EXPECT_THAT(cut(*with, {2, 3, 4}, 2), ElementsAre(3, 4)) << "no prefix, none made";
  EXPECT_THAT(cut(*with, {0, 2, 3, 4}, 1), ElementsAre(4)) << "a prefix alone is no prompt";
  EXPECT_THAT(cut(*with, {0, 2}, 2), ElementsAre(0, 2));
  EXPECT_THAT(cut(*without, {0, 2, 3}, 2), ElementsAre(2, 3));
  EXPECT_EQ(PrefixLength(*with, std::vector<int32_t>{0, 2}), 1u);
  EXPECT_EQ(PrefixLength(*with, std::vector<int32_t>{2}), 0u);
  EXPECT_EQ(PrefixLength(*without, std::vector<int32_t>{0}), 0u);
}

}  // namespace
}  // namespace hone::model
