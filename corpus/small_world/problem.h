// The small world's reasoning problems and their truth.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/small_world/draw.h"
#include "corpus/small_world/vocabulary.h"

namespace hone::corpus {

// `d (op d){n} =`, n in 2..6, worked out from left to right, each step modulo 10.
struct Problem {
  Language language = Language::kEnglish;
  std::vector<int> digits;      // n + 1
  std::vector<Word> operators;  // n, each plus, minus or times
};

// One step: `left` operator `right`, modulo 10.
int ApplyOperator(int left, Word op, int right);
int Solve(const Problem& problem);

// The text without the language word ("3 + 4 * 2 ="): what the held-out rule is about.
std::string ProblemText(const Problem& problem);
// The prompt ("<en> 3 + 4 * 2 =").
std::string PromptText(const Problem& problem);

// CRC-32 (IEEE 802.3, as zlib's crc32) of `text`, modulo 8, equal to 0: kept for the test set.
bool IsHeldOut(std::string_view text);

// n, digits, operators and language uniform; drawn again until the problem is held out, or is not, as asked.
Problem DrawProblem(Draw* draw, bool held_out);

// Words joined by single spaces: how every text of the small world is spelled.
std::string JoinWords(const std::vector<std::string>& words);

}  // namespace hone::corpus
