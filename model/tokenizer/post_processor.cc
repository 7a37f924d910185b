#include "model/tokenizer/post_processor.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "model/formats/json.h"
#include "model/tokenizer/vocabulary.h"

namespace hone::model {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 4;
constexpr size_t kMaxAddedIds = 64;  // a template has one or two; its tokens are put before every prompt

absl::Status Refuse(std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("post_processor: ", ToAbsl(message)));
}

std::string TextOf(const json* value) {
  return value != nullptr && value->is_string() ? value->get_ref<const std::string&>() : std::string();
}

// Appends the ids that `special_tokens` gives for `name`.
absl::Status AppendIds(const json& config, const std::string& name, std::vector<int32_t>* ids) {
  const json* tokens = FindMember(config, "special_tokens");
  const json* token = tokens == nullptr ? nullptr : FindMember(*tokens, name);
  const json* list = token == nullptr ? nullptr : FindMember(*token, "ids");
  const std::string quoted = absl::StrCat("'", name.substr(0, 100), "'");
  if (list == nullptr || !list->is_array() || list->empty()) {
    return Refuse(absl::StrCat("'single' uses the token ", quoted, ", but 'special_tokens' has no 'ids' for it"));
  }
  for (const json& id : *list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
      return Refuse(absl::StrCat("special_tokens ", quoted, ": expected whole numbers from 0 to ", kMaxTokenId));
    }
    ids->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<PostProcessor> ReadTemplate(const json& config) {
  const json* pieces = FindMember(config, "single");
  if (pieces == nullptr || !pieces->is_array()) return Refuse("TemplateProcessing: expected an array 'single'");
  PostProcessor result;
  bool seen_text = false;
  for (const json& piece : *pieces) {
    if (const json* sequence = FindMember(piece, "Sequence"); sequence != nullptr) {
      if (TextOf(FindMember(*sequence, "id")) != "A" || seen_text) {
        return Refuse("TemplateProcessing: 'single' must hold the sequence A once and no other");
      }
      seen_text = true;
      continue;
    }
    const json* special = FindMember(piece, "SpecialToken");
    const std::string name = special == nullptr ? "" : TextOf(FindMember(*special, "id"));
    if (name.empty()) return Refuse("TemplateProcessing: 'single' holds neither a Sequence nor a SpecialToken");
    std::vector<int32_t>* side = seen_text ? &result.after : &result.before;
    HONE_RETURN_IF_ERROR(AppendIds(config, name, side));
    if (side->size() > kMaxAddedIds) {
      return Refuse(absl::StrCat("TemplateProcessing: 'single' adds more than ", kMaxAddedIds, " tokens"));
    }
  }
  if (!seen_text) return Refuse("TemplateProcessing: 'single' must hold the sequence A once and no other");
  return result;
}

absl::StatusOr<PostProcessor> Read(const json& config, int depth) {
  const std::string type = TextOf(FindMember(config, "type"));
  if (type == "ByteLevel") return PostProcessor();
  if (type == "TemplateProcessing") return ReadTemplate(config);
  const json* members = FindMember(config, "processors");
  if (type != "Sequence" || members == nullptr || !members->is_array() || depth >= kMaxDepth) {
    return Refuse(absl::StrCat("type '", type.substr(0, 100),
                               "' is not supported (TemplateProcessing, ByteLevel and Sequence are)"));
  }
  PostProcessor result;
  for (const json& member : *members) {
    HONE_ASSIGN_OR_RETURN(PostProcessor one, Read(member, depth + 1));
    if (one.before.empty() && one.after.empty()) continue;
    // `tokenizers` hands the second template several pieces where it expects one text.
    if (!result.before.empty() || !result.after.empty())
      return Refuse("a Sequence holds two templates that add tokens");
    result = std::move(one);
  }
  return result;
}

}  // namespace

absl::StatusOr<PostProcessor> ReadPostProcessor(const json* config) {
  if (config == nullptr || config->is_null()) return PostProcessor();
  return Read(*config, 0);
}

}  // namespace hone::model
