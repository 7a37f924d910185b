#include "model/tokenizer/pretokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "model/formats/json.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 4;
constexpr size_t kMaxStages = 32;

// GPT-2's split: contractions, then runs of letters, of numbers and of the rest, each with the space before it.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string TypeOf(const json& config) {
  const json* type = FindMember(config, "type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : "";
}

absl::StatusOr<bool> BoolOr(const json& config, std::string_view key, bool fallback) {
  const json* value = FindMember(config, key);
  if (value == nullptr || value->is_null()) return fallback;
  if (!value->is_boolean()) {
    return absl::InvalidArgumentError(absl::StrCat("pre_tokenizer: '", ToAbsl(key), "' is not true or false"));
  }
  return value->get<bool>();
}

// Every code point that `predicate` holds for is a match of its own.
template <typename Predicate>
void MatchCodePoints(std::string_view text, Predicate predicate, std::vector<TextRange>* matches) {
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    if (predicate(NextCodePoint(text, &i))) matches->push_back({begin, i});
  }
}

// \w+|[^\w\s]+
void MatchWordsAndSymbols(std::string_view text, std::vector<TextRange>* matches) {
  enum class Sort { kSpace, kWord, kSymbol };
  Sort last = Sort::kSpace;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = NextCodePoint(text, &i);
    const Sort sort = IsWord(c) ? Sort::kWord : IsWhitespace(c) ? Sort::kSpace : Sort::kSymbol;
    if (sort == Sort::kSpace) {
      last = sort;
      continue;
    }
    if (sort == last) {
      matches->back().end = i;
    } else {
      matches->push_back({begin, i});
    }
    last = sort;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PreTokenizer>> PreTokenizer::FromJson(const json* config) {
  auto result = std::unique_ptr<PreTokenizer>(new PreTokenizer());
  if (config != nullptr && !config->is_null()) HONE_RETURN_IF_ERROR(result->Add(*config, 0));
  return result;
}

absl::Status PreTokenizer::Add(const json& config, int depth) {
  const std::string type = TypeOf(config);
  if (byte_level_) {
    return absl::InvalidArgumentError(
        absl::StrCat("pre_tokenizer: '", type, "' behind a ByteLevel is not supported: ByteLevel must be the last"));
  }
  if (stages_.size() >= kMaxStages) return absl::InvalidArgumentError("pre_tokenizer: too many of them");
  if (type == "Sequence") {
    const json* members = FindMember(config, "pretokenizers");
    if (members == nullptr || !members->is_array() || depth >= kMaxDepth) {
      return absl::InvalidArgumentError(
          "pre_tokenizer: a Sequence needs an array 'pretokenizers' (nested at most 4 deep)");
    }
    for (const json& member : *members) HONE_RETURN_IF_ERROR(Add(member, depth + 1));
    return absl::OkStatus();
  }
  if (type == "ByteLevel") return AddByteLevel(config);
  if (type == "Split") return AddSplit(config);
  Stage stage;
  if (type == "Digits") {
    HONE_ASSIGN_OR_RETURN(const bool individual, BoolOr(config, "individual_digits", false));
    stage.kind = Kind::kNumeric;
    stage.behavior = individual ? Behavior::kIsolated : Behavior::kContiguous;
  } else if (type == "Whitespace") {
    stage.kind = Kind::kWordOrSymbols;
    stage.behavior = Behavior::kRemoved;
    stage.invert = true;
  } else if (type == "WhitespaceSplit") {
    stage.kind = Kind::kWhitespace;
    stage.behavior = Behavior::kRemoved;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("pre_tokenizer: type '", type.substr(0, 100),
                     "' is not supported (ByteLevel, Split, Digits, Whitespace, WhitespaceSplit and Sequence are)"));
  }
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddByteLevel(const json& config) {
  HONE_ASSIGN_OR_RETURN(const bool add_prefix_space, BoolOr(config, "add_prefix_space", true));
  HONE_ASSIGN_OR_RETURN(const bool use_regex, BoolOr(config, "use_regex", true));
  if (add_prefix_space) {
    Stage stage;
    stage.kind = Kind::kAddPrefixSpace;
    stages_.push_back(std::move(stage));
  }
  if (use_regex) {
    Stage stage;
    HONE_ASSIGN_OR_RETURN(stage.regex, Regex::Compile(kGpt2Pattern));
    stages_.push_back(std::move(stage));
  }
  byte_level_ = true;
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddSplit(const json& config) {
  Stage stage;
  HONE_ASSIGN_OR_RETURN(stage.invert, BoolOr(config, "invert", false));
  const json* behavior = FindMember(config, "behavior");
  const std::string name = behavior != nullptr && behavior->is_string() ? behavior->get<std::string>() : "";
  if (name == "Removed") {
    stage.behavior = Behavior::kRemoved;
  } else if (name == "Isolated") {
    stage.behavior = Behavior::kIsolated;
  } else if (name == "MergedWithPrevious") {
    stage.behavior = Behavior::kMergedWithPrevious;
  } else if (name == "MergedWithNext") {
    stage.behavior = Behavior::kMergedWithNext;
  } else if (name == "Contiguous") {
    stage.behavior = Behavior::kContiguous;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("pre_tokenizer: Split behavior '", name.substr(0, 100), "' is unknown"));
  }
  const json* pattern = FindMember(config, "pattern");
  const json* regex = pattern == nullptr ? nullptr : FindMember(*pattern, "Regex");
  const json* literal = pattern == nullptr ? nullptr : FindMember(*pattern, "String");
  if (regex != nullptr && regex->is_string()) {
    auto compiled = Regex::Compile(regex->get_ref<const std::string&>());
    if (!compiled.ok()) return Annotate(compiled.status(), "pre_tokenizer: Split");
    stage.regex = *std::move(compiled);
  } else if (literal != nullptr && literal->is_string()) {
    stage.kind = Kind::kLiteral;
    stage.literal = literal->get<std::string>();
  } else {
    return absl::InvalidArgumentError("pre_tokenizer: Split needs a 'pattern' with a 'Regex' or a 'String'");
  }
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

PreTokenizer::Scratch::Scratch(const PreTokenizer& pre_tokenizer) {
  for (const Stage& stage : pre_tokenizer.stages_) {
    regexes_.push_back(stage.regex == nullptr ? nullptr : std::make_unique<Regex::Scratch>(*stage.regex));
  }
}

void PreTokenizer::FindMatches(const Stage& stage, std::string_view text, Regex::Scratch* regex_scratch,
                               std::vector<TextRange>* matches) {
  switch (stage.kind) {
    case Kind::kRegex:
      stage.regex->FindAll(text, regex_scratch, matches);
      return;
    case Kind::kLiteral:
      if (stage.literal.empty()) return;
      for (size_t at = text.find(stage.literal); at != std::string_view::npos;) {
        matches->push_back({at, at + stage.literal.size()});
        at = text.find(stage.literal, at + stage.literal.size());
      }
      return;
    case Kind::kNumeric:
      MatchCodePoints(text, IsNumeric, matches);
      return;
    case Kind::kWhitespace:
      MatchCodePoints(text, IsWhitespace, matches);
      return;
    case Kind::kWordOrSymbols:
      MatchWordsAndSymbols(text, matches);
      return;
    case Kind::kAddPrefixSpace:  // cuts nothing
      return;
  }
}

// The matches and the stretches between them, in order, become words as the behavior says.
void PreTokenizer::Cut(const Stage& stage, std::string_view text, const std::vector<TextRange>& matches,
                       std::vector<std::string_view>* words) {
  bool previous_match = false;
  bool any = false;
  TextRange open = {0, 0};  // the word that may still grow
  const auto flush = [&] {
    if (any && open.end > open.begin) words->push_back(text.substr(open.begin, open.end - open.begin));
  };
  const auto segment = [&](size_t begin, size_t end, bool is_match) {
    is_match ^= stage.invert;
    bool grow = false;
    switch (stage.behavior) {
      case Behavior::kRemoved:
        if (is_match) return;
        break;
      case Behavior::kIsolated:
        break;
      case Behavior::kContiguous:
        grow = is_match == previous_match;
        break;
      case Behavior::kMergedWithPrevious:
        grow = is_match && !previous_match;
        break;
      case Behavior::kMergedWithNext:  // seen from the left: the segment behind a match takes it in, if it is none
                                       // itself
        grow = previous_match && !is_match;
        break;
    }
    if (grow && any) {
      open.end = end;
    } else {
      flush();
      open = {begin, end};
      any = true;
    }
    previous_match = is_match;
  };
  size_t position = 0;
  for (const TextRange& match : matches) {
    if (position != match.begin) segment(position, match.begin, false);
    segment(match.begin, match.end, true);
    position = match.end;
  }
  if (position != text.size()) segment(position, text.size(), false);
  flush();
}

const std::vector<std::string_view>& PreTokenizer::Run(std::string_view text, Scratch* scratch) const {
  std::vector<std::string_view>& words = scratch->before_;
  words.clear();
  scratch->prefixed_.clear();
  if (!text.empty()) words.push_back(text);
  for (size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    if (stage.kind == Kind::kAddPrefixSpace) {
      for (std::string_view& word : words) {
        if (!word.starts_with(' ')) word = scratch->prefixed_.emplace_back(absl::StrCat(" ", ToAbsl(word)));
      }
      continue;
    }
    scratch->after_.clear();
    for (const std::string_view word : words) {
      scratch->matches_.clear();
      FindMatches(stage, word, scratch->regexes_[i].get(), &scratch->matches_);
      Cut(stage, word, scratch->matches_, &scratch->after_);
    }
    std::swap(words, scratch->after_);
  }
  return words;
}

}  // namespace hone::model
