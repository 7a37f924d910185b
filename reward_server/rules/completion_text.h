// The parts of a completion that the rules speak of: blocks between tags, and what ends it. Pure; linear in the text's
// length.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hone::reward {

enum class Finish {
  kBySelf,  // end of sequence, stop string or stop token
  kCut,     // length limit, aborted, unknown
};

// Completions hold their special tokens as text. Where the completion ended by itself, one trailing end-of-sequence
// piece is no part of what was written: `<`, up to 64 bytes without white space or angle brackets, `>`, other than the
// think and answer tags: <eos>, </s>, <|im_end|>, <｜end▁of▁sentence｜>. Returns the text without it (and without white
// space behind it).
std::string_view WithoutEndToken(std::string_view text, Finish finish);

// Behind the tag-like piece (`<`, 1 to 64 bytes without white space or angle brackets, `>`) at `at`; `at` itself where
// there is none.
size_t SkipTag(std::string_view text, size_t at);

// How often `tag` occurs, counting stops at 2.
int CountUpToTwo(std::string_view text, std::string_view tag);

// The text inside the first think block: from <think> (from the start, where only </think> is there) to </think> (to
// the end, where it never closes). nullptr data where there is neither tag.
std::string_view ThinkBlock(std::string_view text);

// `text` in quotes, cut to at most 60 bytes between characters, for reasons.
std::string Quoted(std::string_view text);

}  // namespace hone::reward
