// Renders conversations for chat_parity.py. usage: chat_tool CASES.jsonl OUT.jsonl
// Each line of CASES is {"template", "bos_token", "messages": [{"role", "content"}], "generate", "think"}; each line of
// OUT is the rendered text, or {"error"} where the template is unknown.
#include <fstream>
#include <iostream>
#include <string>

#include "model/formats/json.h"
#include "model/tokenizer/chat_template.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: chat_tool CASES.jsonl OUT.jsonl\n";
    return 2;
  }
  std::ifstream in(argv[1]);
  std::ofstream out(argv[2]);
  for (std::string line; std::getline(in, line);) {
    const auto parsed = hone::model::ParseJson(line, argv[1]);
    if (!parsed.ok()) {
      std::cerr << parsed.status().ToString() << "\n";
      return 1;
    }
    const nlohmann::json& input = *parsed;
    const auto chat = hone::model::ChatTemplate::FromText(input.at("template").get<std::string>(),
                                                          input.at("bos_token").get<std::string>());
    nlohmann::json result;
    if (chat.ok()) {
      std::vector<hone::model::ChatMessage> messages;
      for (const nlohmann::json& message : input.at("messages")) {
        messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
      }
      result = chat->Render(messages, input.at("generate").get<bool>(), input.at("think").get<bool>());
    } else {
      result = {{"error", chat.status().ToString()}};
    }
    out << hone::model::DumpJson(result, -1) << "\n";
  }
  return out.flush() ? 0 : 1;
}
