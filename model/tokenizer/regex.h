// The regular expressions of tokenizer.json: written for Oniguruma (Ruby syntax, UTF-8), run by PCRE2.
//
// The two differ in what \s, \w, \v, ^ and others mean, so every pattern is translated construct by construct, and one
// with a construct that is not known to mean the same is refused. Immutable and thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace hone::model {

// `pattern` in PCRE2's syntax; INVALID_ARGUMENT naming the construct that is not supported.
absl::StatusOr<std::string> TranslatePattern(std::string_view pattern);

struct TextRange {
  size_t begin;
  size_t end;
};

class Regex {
 public:
  static absl::StatusOr<std::unique_ptr<Regex>> Compile(std::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // What one thread needs to match; reusable, for this Regex only.
  class Scratch {
   public:
    explicit Scratch(const Regex& regex);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class Regex;
    void* match_data_;
  };

  // Appends the successive matches in `text` (valid UTF-8). An empty match right behind the last one does not count. A
  // match that exceeds PCRE2's limits (a pattern that backtracks without end) ends the search.
  void FindAll(std::string_view text, Scratch* scratch, std::vector<TextRange>* matches) const;

 private:
  Regex(void* code, bool jit) : code_(code), jit_(jit) {}
  bool Match(std::string_view text, size_t start, Scratch* scratch, TextRange* match) const;
  void* code_;  // pcre2_code: its header stays out of ours
  bool jit_;
};

}  // namespace hone::model
