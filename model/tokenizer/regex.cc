#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/regex.h"

#include <pcre2.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/strings.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

constexpr size_t kMaxPatternBytes = 100'000;

}  // namespace

absl::StatusOr<std::unique_ptr<Regex>> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pattern of ", pattern.size(), " bytes is over the limit of ", kMaxPatternBytes));
  }
  HONE_ASSIGN_OR_RETURN(const std::string translated, TranslatePattern(pattern));
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  HONE_CHECK(context != nullptr) << "out of memory";
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::InvalidArgumentError(absl::StrCat("pattern '", ToAbsl(pattern.substr(0, 300)), "': PCRE2 says '",
                                                   reinterpret_cast<const char*>(message), "'"));
  }
  const bool jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;  // where there is none, the interpreter serves
  return std::unique_ptr<Regex>(new Regex(code, jit));
}

Regex::~Regex() { pcre2_code_free(static_cast<pcre2_code*>(code_)); }

Regex::Scratch::Scratch(const Regex&) : match_data_(pcre2_match_data_create(1, nullptr)) {  // one pair: the whole match
  HONE_CHECK(match_data_ != nullptr) << "out of memory";
}

Regex::Scratch::~Scratch() { pcre2_match_data_free(static_cast<pcre2_match_data*>(match_data_)); }

bool Regex::Match(std::string_view text, size_t start, Scratch* scratch, TextRange* match) const {
  const auto* code = static_cast<const pcre2_code*>(code_);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  auto* match_data = static_cast<pcre2_match_data*>(scratch->match_data_);
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (jit_) result = pcre2_jit_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, match_data, nullptr);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its backtracking points on the heap
    result = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match_data, nullptr);
  }
  if (result < 0) return false;
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match_data);
  *match = {ends[0], ends[1]};
  return ends[0] <= ends[1];
}

void Regex::FindAll(std::string_view text, Scratch* scratch, std::vector<TextRange>* matches) const {
  size_t start = 0;
  size_t last_end = std::string_view::npos;
  while (start <= text.size()) {
    TextRange match;
    if (!Match(text, start, scratch, &match)) return;
    if (match.begin == match.end && match.end == last_end) {
      if (start >= text.size()) return;
      NextCodePoint(text, &start);
      continue;
    }
    matches->push_back(match);
    start = match.end;
    last_end = match.end;
  }
}

}  // namespace hone::model
