// Any bytes as a chat template, as tokenizer_config.json, and as the contents of a conversation in every built-in
// family.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hone::model::ChatTemplate;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  ChatTemplate::FromText(input, "<s>").status().IgnoreError();
  ChatTemplate::FromConfig(input).status().IgnoreError();
  // Each line is a message; its first byte chooses the role.
  const char* const roles[] = {"system", "user", "assistant", "tool"};
  std::vector<hone::model::ChatMessage> messages;
  std::string_view rest = input;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\0'));
    if (!line.empty()) messages.push_back({roles[static_cast<uint8_t>(line[0]) % 4], std::string(line.substr(1))});
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  using Family = ChatTemplate::Family;
  for (const Family family : {Family::kChatMl, Family::kQwen25, Family::kQwen3, Family::kLlama3, Family::kLlama31}) {
    const ChatTemplate chat = ChatTemplate::ForFamily(family, "default", "<s>");
    chat.Render(messages, true, true);
    chat.Render(messages, false, false);
  }
  return 0;
}
