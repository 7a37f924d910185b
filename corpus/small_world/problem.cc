#include "corpus/small_world/problem.h"

#include <array>

#include "base/check.h"

namespace hone::corpus {
namespace {

constexpr int kMinSteps = 2;
constexpr int kMaxSteps = 6;

uint32_t Crc32(std::string_view text) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : text) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);  // reflected 0x04C11DB7
  }
  return ~crc;
}

}  // namespace

int ApplyOperator(int left, Word op, int right) {
  switch (op) {
    case Word::kPlus:
      return (left + right) % 10;
    case Word::kMinus:
      return (left + 10 - right) % 10;
    case Word::kTimes:
      return left * right % 10;
    default:
      HONE_CHECK(false) << "not an operator";
      return 0;
  }
}

int Solve(const Problem& problem) {
  int value = problem.digits[0];
  for (size_t i = 0; i < problem.operators.size(); ++i) {
    value = ApplyOperator(value, problem.operators[i], problem.digits[i + 1]);
  }
  return value;
}

std::string JoinWords(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

std::string ProblemText(const Problem& problem) {
  std::string text = std::to_string(problem.digits[0]);
  constexpr std::array<const char*, 3> kSymbols = {" + ", " - ", " * "};
  for (size_t i = 0; i < problem.operators.size(); ++i) {
    text += kSymbols[static_cast<size_t>(problem.operators[i])];
    text += std::to_string(problem.digits[i + 1]);
  }
  return text + " =";
}

std::string PromptText(const Problem& problem) { return LanguageTag(problem.language) + " " + ProblemText(problem); }

bool IsHeldOut(std::string_view text) { return Crc32(text) % 8 == 0; }

Problem DrawProblem(Draw* draw, bool held_out) {
  for (;;) {
    Problem problem;
    problem.language = static_cast<Language>(draw->Below(2));
    const int steps = kMinSteps + draw->Below(kMaxSteps - kMinSteps + 1);
    problem.digits.push_back(draw->Below(10));
    for (int i = 0; i < steps; ++i) {
      problem.operators.push_back(static_cast<Word>(draw->Below(3)));
      problem.digits.push_back(draw->Below(10));
    }
    if (IsHeldOut(ProblemText(problem)) == held_out) return problem;
  }
}

}  // namespace hone::corpus
