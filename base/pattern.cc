#include "base/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr size_t kMaxPatternBytes = 4096;
constexpr uint32_t kMatchLimit = 200'000;  // calls of the matcher's inner function
constexpr uint32_t kDepthLimit = 10'000;   // backtracking depth
constexpr uint32_t kHeapLimitKib = 16'384;

struct MatchContext {
  MatchContext() : context(pcre2_match_context_create(nullptr)) {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kDepthLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
  }
  ~MatchContext() { pcre2_match_context_free(context); }
  pcre2_match_context* context;
};

}  // namespace

absl::StatusOr<Pattern> Pattern::Compile(const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(absl::StrCat("expected a regular expression (PCRE2) of at most ",
                                                   kMaxPatternBytes, " bytes, got ", pattern.size()));
  }
  int error = 0;
  size_t offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_DOTALL | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    unsigned char message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::InvalidArgumentError(absl::StrCat("the regular expression (PCRE2) '", pattern,
                                                   "' does not compile at byte ", offset, ": ",
                                                   reinterpret_cast<const char*>(message)));
  }
  return Pattern(std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); }));
}

std::optional<bool> Pattern::MatchesWhole(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const MatchContext limits;
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  const int rc = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                             PCRE2_ANCHORED | PCRE2_ENDANCHORED, data, limits.context);
  pcre2_match_data_free(data);
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) return std::nullopt;
  return true;
}

}  // namespace hone
