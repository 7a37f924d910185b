#include "model/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/files.h"

namespace hone::model {
namespace {

using Family = ChatTemplate::Family;
using testing::HasSubstr;

const std::vector<ChatMessage> kQuestion = {{"user", "1+1?"}};
const std::vector<ChatMessage> kTwoTurns = {{"system", "Be brief."},
                                            {"user", "1+1?"},
                                            {"assistant", "<think>\nsum\n</think>\n\n2"},
                                            {"user", "2+2?"},
                                            {"assistant", "<think>\nagain\n</think>\n\n4"}};

TEST(ChatTemplateTest, ChatMl) {
  const ChatTemplate plain = ChatTemplate::ForFamily(Family::kChatMl, "", "");
  EXPECT_EQ(plain.Render(kQuestion, true), "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(plain.Render({}, false), "");
  const ChatTemplate with_default = ChatTemplate::ForFamily(Family::kChatMl, "Default.", "");
  EXPECT_EQ(with_default.Render(kQuestion, false),
            "<|im_start|>system\nDefault.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n");
  EXPECT_EQ(with_default.Render(kTwoTurns, false).find("Default."), std::string::npos);
}

TEST(ChatTemplateTest, Qwen25WrapsToolResults) {
  const ChatTemplate chat = ChatTemplate::ForFamily(Family::kQwen25, "Default.", "");
  EXPECT_EQ(
      chat.Render({{"user", "a"}, {"tool", "r1"}, {"tool", "r2"}}, true),
      "<|im_start|>system\nDefault.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>user\n<tool_response>\nr1\n"
      "</tool_response>\n<tool_response>\nr2\n</tool_response><|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplateTest, Qwen3DropsThinkingOfEarlierTurns) {
  const ChatTemplate chat = ChatTemplate::ForFamily(Family::kQwen3, "", "");
  EXPECT_EQ(
      chat.Render(kTwoTurns, false),
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
      "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\nagain\n</think>\n\n4<|im_end|>\n");
  EXPECT_EQ(chat.Render(kQuestion, true), "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(chat.Render(kQuestion, true, false),
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

TEST(ChatTemplateTest, Llama) {
  const std::string turns =
      "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
  const std::vector<ChatMessage> messages = {{"user", " hi\n"}};
  EXPECT_EQ(ChatTemplate::ForFamily(Family::kLlama3, "", "<bos>").Render(messages, true), "<bos>" + turns);
  EXPECT_EQ(
      ChatTemplate::ForFamily(Family::kLlama31, "", "<bos>").Render(messages, true),
      "<bos><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul "
      "2024\n\n<|eot_id|>" +
          turns);
  EXPECT_THAT(ChatTemplate::ForFamily(Family::kLlama31, "", "").Render({{"system", "S"}, {"user", "u"}}, false),
              HasSubstr("2024\n\nS<|eot_id|><|start_header_id|>user"));
}

TEST(ChatTemplateTest, MessagesThatAreNotUtf8) {
  for (const Family family : {Family::kChatMl, Family::kQwen25, Family::kQwen3, Family::kLlama3, Family::kLlama31}) {
    // A copy of its own size, so that a sanitizer sees a read beyond the end.
    const std::vector<char> cut = {'x', '\xf4'};
    const std::string text =
        ChatTemplate::ForFamily(family, "", "").Render({{"user", {cut.data(), cut.size()}}}, false);
    EXPECT_THAT(text, HasSubstr("x\xef\xbf\xbd<|"));
  }
}

// ChatML as models carry it, with `system` as its default prompt.
std::string ChatMlText(const std::string& system) {
  return "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
         "'<|im_start|>system\\n" +
         system +
         "<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
         "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
}

TEST(ChatTemplateTest, KnownTextsAreRecognised) {
  const auto chat = ChatTemplate::FromText(ChatMlText("You are a helpful assistant."), "");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->family(), Family::kChatMl);
  EXPECT_EQ(chat->default_system(), "You are a helpful assistant.");
  const auto escaped = ChatTemplate::FromText(ChatMlText("Put it in \\\\boxed{} and don\\'t\\nstop."), "");
  ASSERT_TRUE(escaped.ok()) << escaped.status();
  EXPECT_EQ(escaped->default_system(), "Put it in \\boxed{} and don't\nstop.");
}

TEST(ChatTemplateTest, UnknownTextsAreRefused) {
  std::string text = ChatMlText("You are a helpful assistant.");
  for (const size_t at : {size_t{3}, text.find("role"), text.find("add_generation"), text.size() - 3}) {
    std::string changed = text;
    changed[at] = '_';
    const auto chat = ChatTemplate::FromText(changed, "");
    ASSERT_FALSE(chat.ok()) << at;
    EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(chat.status().message()), HasSubstr("unknown chat template"));
  }
  EXPECT_FALSE(ChatTemplate::FromText("", "").ok());
  EXPECT_FALSE(ChatTemplate::FromText(ChatMlText("a' + evil + 'b"), "").ok());
}

TEST(ChatTemplateTest, FromConfiguration) {
  nlohmann::json config = {{"bos_token", {{"content", "<s>"}}}, {"chat_template", ChatMlText("A.")}};
  EXPECT_EQ(ChatTemplate::FromConfig(config.dump())->default_system(), "A.");
  config["chat_template"] = {{{"name", "tool_use"}, {"template", "x"}},
                             {{"name", "default"}, {"template", ChatMlText("B.")}}};
  EXPECT_EQ(ChatTemplate::FromConfig(config.dump())->default_system(), "B.");
  EXPECT_EQ(ChatTemplate::FromConfig("{}").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ChatTemplate::FromConfig(R"({"chat_template": 3})").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ChatTemplate::FromConfig("{").status().code(), absl::StatusCode::kInvalidArgument);

  EXPECT_EQ(ChatTemplate::FromFiles(config.dump(), "")->default_system(), "B.");
  EXPECT_EQ(ChatTemplate::FromFiles(config.dump(), ChatMlText("C."))->default_system(), "C.");
  EXPECT_EQ(ChatTemplate::FromFiles("", ChatMlText("C."))->default_system(), "C.");
  EXPECT_EQ(ChatTemplate::FromFiles("", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ChatTemplate::FromFiles(config.dump(), "x").status().code(), absl::StatusCode::kInvalidArgument);

  const std::string folder = "chat_template_test";
  ASSERT_TRUE(CreateDirectories(folder).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "tokenizer_config.json"), config.dump()).ok());
  EXPECT_EQ(ChatTemplate::FromDirectory(folder)->default_system(), "B.");
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "chat_template.jinja"), ChatMlText("C.")).ok());
  EXPECT_EQ(ChatTemplate::FromDirectory(folder)->default_system(), "C.");
  ASSERT_TRUE(RemoveTree(folder).ok());
}

TEST(ChatTemplateTest, Qwen3sOwnText) {
  const char* shared = std::getenv("HONE_SHARED");
  const std::string folder =
      JoinPath(shared != nullptr ? shared : JoinPath(HONE_SOURCE_DIR, "../shared"), "tokenizers/qwen3");
  if (!DirectoryExists(folder)) GTEST_SKIP() << "no tokenizer at " << folder << "; set HONE_SHARED";
  const auto chat = ChatTemplate::FromDirectory(folder);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->family(), Family::kQwen3);
}

}  // namespace
}  // namespace hone::model
