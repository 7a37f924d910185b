#include "model/tokenizer/tokenizer_file.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/formats/json.h"

namespace hone::model {
namespace {

using nlohmann::json;

constexpr int64_t kMinMaxTokenId = 1 << 18;  // 16 MiB of tables

// Takes the events of model.vocab and model.merges for itself and gives the others to a JsonBuilder.
class Handler {
 public:
  explicit Handler(TokenizerFile* file) : file_(file), builder_(JsonLimits{.max_depth = 32, .max_values = 4'000'000}) {}

  bool null() { return mode_ == Mode::kRest ? builder_.null() : Unexpected(); }
  bool boolean(bool value) { return mode_ == Mode::kRest ? builder_.boolean(value) : Unexpected(); }
  bool number_integer(int64_t value) { return mode_ == Mode::kRest ? builder_.number_integer(value) : Unexpected(); }
  bool number_unsigned(uint64_t value) {
    if (mode_ == Mode::kRest) return builder_.number_unsigned(value);
    if (mode_ != Mode::kVocabulary) return Unexpected();
    if (value > static_cast<uint64_t>(file_->max_token_id)) {
      return Fail(absl::StrCat("model.vocab: id ", value, " is over the limit ", file_->max_token_id,
                               " for a file of this size"));
    }
    const absl::Status status = file_->vocabulary.Add(piece_, static_cast<int64_t>(value));
    return status.ok() || Fail(absl::StrCat("model.vocab: ", status.message()));
  }
  bool number_float(double value, const std::string& text) {
    return mode_ == Mode::kRest ? builder_.number_float(value, text) : Unexpected();
  }
  bool string(std::string& value) {
    switch (mode_) {
      case Mode::kRest:
        return builder_.string(value);
      case Mode::kMerges:
        return AddMerge(value);
      case Mode::kMergePair:
        return AddMergePart(value);
      case Mode::kVocabulary:
        break;
    }
    return Unexpected();
  }
  bool binary(std::vector<uint8_t>&) { return Unexpected(); }

  bool start_object(size_t size) {
    if (mode_ != Mode::kRest) return Unexpected();
    if (!AtModelMember("vocab")) return builder_.start_object(size);
    if (file_->has_vocabulary) return Fail("model.vocab appears twice");
    file_->has_vocabulary = true;
    mode_ = Mode::kVocabulary;
    return true;
  }
  bool end_object() {
    if (mode_ == Mode::kRest) return builder_.end_object();
    mode_ = Mode::kRest;
    return true;
  }
  bool start_array(size_t size) {
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kMergePair;
      parts_ = 0;
      return true;
    }
    if (mode_ != Mode::kRest) return Unexpected();
    if (!AtModelMember("merges")) return builder_.start_array(size);
    if (has_merges_) return Fail("model.merges appears twice");
    has_merges_ = true;
    mode_ = Mode::kMerges;
    return true;
  }
  bool end_array() {
    if (mode_ == Mode::kRest) return builder_.end_array();
    if (mode_ == Mode::kMergePair) {
      if (parts_ != 2) return Fail(absl::StrCat("model.merges[", file_->merges.size() - 1, "] has not two parts"));
      mode_ = Mode::kMerges;
    } else {
      mode_ = Mode::kRest;
    }
    return true;
  }
  bool key(std::string& value) {
    if (mode_ == Mode::kVocabulary) {
      piece_ = std::move(value);
      return true;
    }
    if (builder_.depth() == 1) section_ = value;
    if (builder_.depth() == 2) member_ = value;
    return builder_.key(value);
  }
  bool parse_error(size_t position, const std::string& token, const json::exception& error) {
    return builder_.parse_error(position, token, error);
  }

  const std::string& error() const { return builder_.error(); }
  json Take() { return builder_.Take(); }

 private:
  enum class Mode { kRest, kVocabulary, kMerges, kMergePair };

  bool AtModelMember(std::string_view member) const {
    return builder_.depth() == 2 && section_ == "model" && member_ == member;
  }
  bool Fail(std::string message) { return builder_.Fail(std::move(message)); }
  bool Unexpected() {
    return Fail(mode_ == Mode::kVocabulary
                    ? absl::StrCat("model.vocab: the id of '", piece_.substr(0, 100), "' is not a whole number >= 0")
                    : absl::StrCat("model.merges[", file_->merges.size(), "] is neither text nor a pair of texts"));
  }

  bool AddMerge(const std::string& merge) {
    const size_t space = merge.find(' ');
    if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos) {
      return Fail(absl::StrCat("model.merges[", file_->merges.size(), "] is not two texts with one space between: '",
                               merge.substr(0, 100), "'"));
    }
    file_->merges.push_back({file_->merge_text.size(), space, merge.size() - space - 1});
    file_->merge_text.append(merge, 0, space).append(merge, space + 1);
    return true;
  }

  bool AddMergePart(const std::string& part) {
    if (parts_ == 0) file_->merges.push_back({file_->merge_text.size(), part.size(), 0});
    if (parts_ == 1) file_->merges.back().right_size = part.size();
    if (++parts_ > 2) return Fail(absl::StrCat("model.merges[", file_->merges.size() - 1, "] has not two parts"));
    file_->merge_text.append(part);
    return true;
  }

  TokenizerFile* file_;
  JsonBuilder builder_;
  Mode mode_ = Mode::kRest;
  std::string section_;
  std::string member_;
  std::string piece_;
  int parts_ = 0;
  bool has_merges_ = false;
};

}  // namespace

std::vector<std::pair<std::string_view, std::string_view>> TokenizerFile::MergeViews() const {
  std::vector<std::pair<std::string_view, std::string_view>> views;
  views.reserve(merges.size());
  const std::string_view text = merge_text;
  for (const MergeSlice& slice : merges) {
    views.emplace_back(text.substr(slice.begin, slice.left_size),
                       text.substr(slice.begin + slice.left_size, slice.right_size));
  }
  return views;
}

absl::StatusOr<TokenizerFile> ReadTokenizerFile(std::string_view text) {
  TokenizerFile file;
  // A token takes six bytes or more; small files may still number their tokens as a large model does.
  file.max_token_id = std::clamp<int64_t>(static_cast<int64_t>(text.size() / 4), kMinMaxTokenId, kMaxTokenId);
  Handler handler(&file);
  if (!json::sax_parse(text.begin(), text.end(), &handler)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: ", handler.error().empty() ? "not valid JSON" : handler.error()));
  }
  file.rest = handler.Take();
  if (!file.rest.is_object()) return absl::InvalidArgumentError("tokenizer.json: expected a JSON object");
  return file;
}

}  // namespace hone::model
