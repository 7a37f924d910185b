#include "model/tokenizer/chat_template.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "model/formats/json.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

using nlohmann::json;

constexpr std::string_view kSystemMark = "<|im_start|>system\n";
constexpr std::string_view kEndMark = "<|im_end|>";
constexpr std::string_view kDefaultPlaceholder = "<default system prompt>";

// A known text by the SHA-256 of its canonical form (see Canonical).
struct KnownTemplate {
  std::string_view sha256;
  ChatTemplate::Family family;
};
constexpr KnownTemplate kKnown[] = {
    // SmolLM2 and Qwen2: a default system prompt
    {"a37ef44f9ae753add83cc681afcec34e21ad234b45afdd45939775a287dec2b1", ChatTemplate::Family::kChatMl},
    // ChatML as it is most written
    {"153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3", ChatTemplate::Family::kChatMl},
    // the same, shorter
    {"2bbbfd2c34ad61be0420e60dd3297960ea47b72aeae4d14d1bb0292e8ac002f3", ChatTemplate::Family::kChatMl},
    // Qwen2.5
    {"b4edcc2979005d79d057c0d422bf5dc1f24abd7be978ff687147c7683b467a34", ChatTemplate::Family::kQwen25},
    // Qwen3 as first published
    {"2df317a15cbc983d9602cc391d33be17237d47ec7eb11ead80fae277143958aa", ChatTemplate::Family::kQwen3},
    // Qwen3 with a check that contents are text
    {"edcd73b0e30a780c1d6f3e060c07396def3c3fa55a2c55197b10f99d1dde83e1", ChatTemplate::Family::kQwen3},
    // Llama 3
    {"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122", ChatTemplate::Family::kLlama3},
    // Llama 3.1 and 3.3
    {"99799a835a31e1d33c4a9c7ee8a0de3923b291a95155ed6dc8efcbd0fe1d0238", ChatTemplate::Family::kLlama31},
};

// The text with Jinja's \n escapes as line feeds (GGUF files and older configurations have them so) and no space at its
// end.
std::string Canonical(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      if (text[i] == 'n') {
        result += '\n';
      } else {
        result.append({'\\', text[i]});
      }
    } else {
      result += text[i];
    }
  }
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

// What a Jinja string literal with `literal` between its quotes stands for; nothing where it has an escape of another
// kind.
std::optional<std::string> Unescape(std::string_view literal) {
  std::string result;
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] == '\'') return std::nullopt;
    if (literal[i] == '\\') {
      if (++i >= literal.size() || std::string_view("\\'\"").find(literal[i]) == std::string_view::npos) {
        return std::nullopt;
      }
    }
    result += literal[i];
  }
  return result;
}

// The default system prompt of a ChatML template as it stands in the canonical text: between the marks of a whole
// literal.
std::string_view FindDefaultSystem(std::string_view canonical) {
  const std::string opening = absl::StrCat("'", ToAbsl(kSystemMark));
  for (size_t at = canonical.find(opening); at != std::string_view::npos; at = canonical.find(opening, at + 1)) {
    const size_t begin = at + opening.size();
    const size_t end = canonical.find(kEndMark, begin);
    if (end == std::string_view::npos) return {};
    const std::string_view literal = canonical.substr(begin, end - begin);
    if (!literal.empty() && Unescape(literal).has_value()) return literal;
  }
  return {};
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    result.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return result.append(text);
}

// Python's str.strip(): white space there includes the information separators U+001C to U+001F.
bool IsPythonSpace(char32_t c) { return IsWhitespace(c) || (c >= 0x1c && c <= 0x1f); }

std::string_view PythonStrip(std::string_view text) {
  size_t begin = text.size();
  size_t end = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    if (IsPythonSpace(NextCodePoint(text, &i))) continue;
    begin = std::min(begin, at);
    end = i;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

std::string_view StripLeft(std::string_view text, char c) {
  while (text.starts_with(c)) text.remove_prefix(1);
  return text;
}

std::string_view StripRight(std::string_view text, char c) {
  while (text.ends_with(c)) text.remove_suffix(1);
  return text;
}

// What stands behind the last `mark` in `text`, or all of it.
std::string_view AfterLast(std::string_view text, std::string_view mark) {
  const size_t at = text.rfind(mark);
  return at == std::string_view::npos ? text : text.substr(at + mark.size());
}

void AppendChatMlTurn(std::string_view role, std::string_view content, std::string* out) {
  absl::StrAppend(out, "<|im_start|>", ToAbsl(role), "\n", ToAbsl(content), "<|im_end|>\n");
}

void AppendLlamaTurn(std::string_view role, std::string_view content, std::string* out) {
  absl::StrAppend(out, "<|start_header_id|>", ToAbsl(role), "<|end_header_id|>\n\n", ToAbsl(content), "<|eot_id|>");
}

// Results of tools, one or more in a row, make one user turn.
void AppendToolResult(const std::vector<ChatMessage>& messages, size_t i, std::string* out) {
  if (i == 0 || messages[i - 1].role != "tool") *out += "<|im_start|>user";
  absl::StrAppend(out, "\n<tool_response>\n", messages[i].content, "\n</tool_response>");
  if (i + 1 == messages.size() || messages[i + 1].role != "tool") *out += "<|im_end|>\n";
}

// Qwen3: the thinking of an answer is shown only behind the last question.
void AppendQwen3Answer(std::string_view content, bool after_question, bool last, std::string* out) {
  std::string_view thinking;
  if (const size_t end = content.find("</think>"); end != std::string_view::npos) {
    thinking = StripLeft(AfterLast(StripRight(content.substr(0, end), '\n'), "<think>"), '\n');
    content = StripLeft(AfterLast(content, "</think>"), '\n');
  }
  if (!after_question || !(last || !thinking.empty())) {
    AppendChatMlTurn("assistant", content, out);
    return;
  }
  absl::StrAppend(out, "<|im_start|>assistant\n<think>\n", ToAbsl(StripRight(StripLeft(thinking, '\n'), '\n')),
                  "\n</think>\n\n", ToAbsl(StripLeft(content, '\n')), "<|im_end|>\n");
}

// Index of the last user message that is not the result of a tool; the last message where there is none.
size_t LastQuestion(const std::vector<ChatMessage>& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool tool_result = content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !tool_result) return i;
  }
  return messages.empty() ? 0 : messages.size() - 1;
}

// Of a tokenizer_config.json: a text, or an object with the text as its content; empty for none.
std::string BosToken(const json& config) {
  const json* bos = FindMember(config, "bos_token");
  if (bos != nullptr && bos->is_object()) bos = FindMember(*bos, "content");
  return bos != nullptr && bos->is_string() ? bos->get<std::string>() : std::string();
}

}  // namespace

ChatTemplate ChatTemplate::ForFamily(Family family, std::string_view default_system, std::string_view bos_token) {
  ChatTemplate result;
  result.family_ = family;
  result.default_system_ = std::string(default_system);
  result.bos_token_ = std::string(bos_token);
  return result;
}

absl::StatusOr<ChatTemplate> ChatTemplate::FromText(std::string_view template_text, std::string_view bos_token) {
  const std::string canonical = Canonical(template_text);
  const std::string_view literal = FindDefaultSystem(canonical);
  const std::string hash = Sha256Hex(literal.empty() ? canonical : ReplaceAll(canonical, literal, kDefaultPlaceholder));
  for (const KnownTemplate& known : kKnown) {
    if (known.sha256 == hash) return ForFamily(known.family, Unescape(literal).value_or(""), bos_token);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown chat template (SHA-256 of its canonical text ", hash,
                   "): Hone has those of SmolLM2, ChatML, "
                   "Qwen2, Qwen2.5, Qwen3, Llama 3, 3.1 and 3.3 built in; the text begins with '",
                   ToAbsl(template_text.substr(0, 120)), "'"));
}

absl::StatusOr<ChatTemplate> ChatTemplate::FromFiles(std::string_view tokenizer_config_json,
                                                     std::string_view jinja_text) {
  if (jinja_text.empty()) {
    if (!tokenizer_config_json.empty()) return FromConfig(tokenizer_config_json);
    return absl::NotFoundError("the model has neither chat_template.jinja nor tokenizer_config.json");
  }
  std::string bos_token;
  if (!tokenizer_config_json.empty()) {
    HONE_ASSIGN_OR_RETURN(const json config, ParseJson(tokenizer_config_json, "tokenizer_config.json"));
    if (!config.is_object()) return absl::InvalidArgumentError("tokenizer_config.json: expected an object");
    bos_token = BosToken(config);
  }
  auto result = FromText(jinja_text, bos_token);
  if (!result.ok()) return Annotate(result.status(), "chat_template.jinja");
  return result;
}

absl::StatusOr<ChatTemplate> ChatTemplate::FromConfig(std::string_view tokenizer_config_json) {
  HONE_ASSIGN_OR_RETURN(const json config, ParseJson(tokenizer_config_json, "tokenizer_config.json"));
  const json* text = FindMember(config, "chat_template");
  if (text != nullptr && text->is_array()) {  // several, by name
    const json* chosen = nullptr;
    for (const json& entry : *text) {
      const json* name = FindMember(entry, "name");
      if (name != nullptr && *name == "default") chosen = FindMember(entry, "template");
    }
    text = chosen;
  }
  if (text == nullptr || text->is_null()) {
    return absl::NotFoundError("tokenizer_config.json: there is no 'chat_template'");
  }
  if (!text->is_string()) return absl::InvalidArgumentError("tokenizer_config.json: 'chat_template' is not a text");
  return FromText(text->get_ref<const std::string&>(), BosToken(config));
}

absl::StatusOr<ChatTemplate> ChatTemplate::FromDirectory(const std::string& directory) {
  HONE_ASSIGN_OR_RETURN(const std::string config_text,
                        ReadFile(JoinPath(directory, "tokenizer_config.json"), kMaxModelJsonBytes));
  std::string jinja_text;
  if (const std::string path = JoinPath(directory, "chat_template.jinja"); FileExists(path)) {
    HONE_ASSIGN_OR_RETURN(jinja_text, ReadFile(path, kMaxModelJsonBytes));
  }
  auto result = FromFiles(config_text, jinja_text);
  if (!result.ok()) return Annotate(result.status(), directory);
  return result;
}

void ChatTemplate::RenderChatMl(const std::vector<ChatMessage>& messages, std::string* out) const {
  if (!default_system_.empty() && !messages.empty() && messages[0].role != "system") {
    AppendChatMlTurn("system", default_system_, out);
  }
  for (const ChatMessage& message : messages) AppendChatMlTurn(message.role, message.content, out);
}

// Qwen2.5 and Qwen3; both pass over messages of other roles.
void ChatTemplate::RenderQwen(const std::vector<ChatMessage>& messages, std::string* out) const {
  const size_t question = LastQuestion(messages);
  if (!default_system_.empty() && (messages.empty() || messages[0].role != "system")) {
    AppendChatMlTurn("system", default_system_, out);
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "tool") {
      AppendToolResult(messages, i, out);
    } else if (message.role == "assistant" && family_ == Family::kQwen3) {
      AppendQwen3Answer(message.content, i > question, i + 1 == messages.size(), out);
    } else if (message.role == "user" || message.role == "system" || message.role == "assistant") {
      AppendChatMlTurn(message.role, message.content, out);
    }
  }
}

void ChatTemplate::RenderLlama(const std::vector<ChatMessage>& messages, std::string* out) const {
  size_t first = 0;
  if (family_ == Family::kLlama31) {
    std::string_view system;
    if (!messages.empty() && messages[0].role == "system") {
      system = PythonStrip(messages[0].content);
      first = 1;
    }
    *out += bos_token_;
    // The dates are constants of the template.
    AppendLlamaTurn("system",
                    absl::StrCat("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n", ToAbsl(system)),
                    out);
  } else if (!messages.empty()) {
    *out += bos_token_;
  }
  for (size_t i = first; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (family_ == Family::kLlama31 && (message.role == "tool" || message.role == "ipython")) {
      AppendLlamaTurn("ipython", DumpJson(json(message.content), -1), out);
    } else {
      AppendLlamaTurn(message.role, PythonStrip(message.content), out);
    }
  }
}

std::string ChatTemplate::Render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                                 bool enable_thinking) const {
  for (const ChatMessage& message : messages) {
    if (IsValidUtf8(message.role) && IsValidUtf8(message.content)) continue;
    std::vector<ChatMessage> valid;
    valid.reserve(messages.size());
    for (const ChatMessage& any : messages) valid.push_back({ToValidUtf8(any.role), ToValidUtf8(any.content)});
    return Render(valid, add_generation_prompt, enable_thinking);
  }
  std::string out;
  switch (family_) {
    case Family::kChatMl:
      RenderChatMl(messages, &out);
      break;
    case Family::kQwen25:
    case Family::kQwen3:
      RenderQwen(messages, &out);
      break;
    case Family::kLlama3:
    case Family::kLlama31:
      RenderLlama(messages, &out);
      if (add_generation_prompt) out += "<|start_header_id|>assistant<|end_header_id|>\n\n";
      return out;
  }
  if (add_generation_prompt) out += "<|im_start|>assistant\n";
  if (add_generation_prompt && family_ == Family::kQwen3 && !enable_thinking) out += "<think>\n\n</think>\n\n";
  return out;
}

}  // namespace hone::model
