#include "reward_server/rules/arithmetic.h"

#include <charconv>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

enum class Kind { kNumber, kSign, kOther };

// One word, sign or number of the text.
struct Token {
  Kind kind = Kind::kOther;
  int64_t number = 0;
  char sign = 0;
  size_t end = 0;
};

std::optional<char> SignOf(std::string_view character) {
  if (character.size() == 1 && std::string_view("+-*/=").find(character[0]) != std::string_view::npos) {
    return character[0];
  }
  if (character == "×" || character == "·") return '*';
  if (character == "÷") return '/';
  if (character == "−") return '-';
  return std::nullopt;
}

// The end of the run of letters at `at` (a single Han ideograph is a word of its own).
size_t WordEnd(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size()) {
    size_t next = end;
    const Script script = ScriptOf(NextCodePoint(text, &next));
    if (script == Script::kHan) return end == at ? next : end;
    if (script == Script::kNone) break;
    end = next;
  }
  return end;
}

class Lexer {
 public:
  Lexer(std::string_view text, const std::map<std::string, char, std::less<>>& words) : text_(text), words_(words) {}

  // nullopt at the end of the text.
  std::optional<Token> Next() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
    if (at_ == text_.size()) return std::nullopt;
    Token token;
    if (IsDigit(text_[at_])) return Number();
    if (const size_t end = WordEnd(text_, at_); end > at_) {
      if (const auto sign = words_.find(text_.substr(at_, end - at_)); sign != words_.end()) {
        token.kind = Kind::kSign;
        token.sign = sign->second;
      }
      at_ = end;
    } else {
      const size_t begin = at_;
      NextCodePoint(text_, &at_);
      if (const auto sign = SignOf(text_.substr(begin, at_ - begin))) {
        token.kind = Kind::kSign;
        token.sign = *sign;
      }
    }
    token.end = at_;
    return token;
  }

 private:
  Token Number() {
    const size_t begin = at_;
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
    Token token;
    const auto [end, error] = std::from_chars(text_.data() + begin, text_.data() + at_, token.number);
    token.kind = error == std::errc() ? Kind::kNumber : Kind::kOther;
    // 1.5 and 1,000 are none that this rule reads; a full stop behind a number ends a sentence.
    while (at_ + 1 < text_.size() && (text_[at_] == '.' || text_[at_] == ',') && IsDigit(text_[at_ + 1])) {
      token.kind = Kind::kOther;
      while (++at_ < text_.size() && IsDigit(text_[at_])) {
      }
    }
    token.end = at_;
    return token;
  }

  std::string_view text_;
  const std::map<std::string, char, std::less<>>& words_;
  size_t at_ = 0;
};

// a op b as it is read: products are folded at once, sums when the next sum begins. nullopt: a division that leaves a
// rest, or beyond 64 bits.
class Sum {
 public:
  void Begin(int64_t number) {
    ok_ = true;
    total_ = 0;
    term_ = number;
  }
  void Add(char sign, int64_t number) {
    switch (sign) {
      case '*':
        ok_ = ok_ && !__builtin_mul_overflow(term_, number, &term_);
        return;
      case '/':
        ok_ = ok_ && number != 0 && term_ % number == 0;
        if (ok_) term_ /= number;
        return;
      default:
        Fold();
        term_ = sign == '-' ? -number : number;
    }
  }
  std::optional<int64_t> Value() {
    Fold();
    term_ = 0;
    return ok_ ? std::optional(total_) : std::nullopt;
  }

 private:
  void Fold() { ok_ = ok_ && !__builtin_add_overflow(total_, term_, &total_); }

  bool ok_ = true;
  int64_t total_ = 0, term_ = 0;
};

}  // namespace

ArithmeticRule::ArithmeticRule(const std::map<std::string, std::string>& words, int64_t modulus) : modulus_(modulus) {
  for (const auto& [word, sign] : words) {
    if (!sign.empty()) words_[word] = sign[0];
  }
}

ComponentScore ArithmeticRule::Score(std::string_view text) const {
  const auto equal = [this](std::optional<int64_t> left, int64_t right) {
    if (!left.has_value()) return false;
    if (modulus_ <= 0) return *left == right;
    const auto reduced = [this](int64_t value) { return (value % modulus_ + modulus_) % modulus_; };
    return reduced(*left) == reduced(right);
  };
  enum class State { kNothing, kNumber, kSign, kEquals };  // what was read last
  State state = State::kNothing;
  Lexer lexer(text, words_);
  Sum sum;
  char sign = 0;
  bool negative = false;  // a minus stands behind the equals sign
  int operations = 0;
  std::vector<StepValue> steps;
  double right = 0;
  while (const std::optional<Token> token = lexer.Next()) {
    if (token->kind == Kind::kNumber) {
      const int64_t number = state == State::kEquals && negative ? -token->number : token->number;
      if (state == State::kEquals) {
        const double value = equal(sum.Value(), number) ? 1 : 0;
        steps.push_back({token->end, value});
        right += value;
      }
      if (state == State::kSign) {
        sum.Add(sign, number);
        ++operations;
      } else {
        sum.Begin(number);  // the result of an equation may begin the next one
        operations = 0;
      }
      state = State::kNumber;
    } else if (token->kind == Kind::kSign && state == State::kNumber && token->sign != '=') {
      sign = token->sign;
      state = State::kSign;
    } else if (token->kind == Kind::kSign && state == State::kNumber && operations > 0) {
      state = State::kEquals;
      negative = false;
    } else if (token->kind == Kind::kSign && state == State::kEquals && token->sign == '-' && !negative) {
      negative = true;
    } else {
      state = State::kNothing;
    }
  }
  if (steps.empty()) return Scored(0, "no equation");
  const double count = static_cast<double>(steps.size());
  ComponentScore score = Scored(right / count, absl::StrCat(right, " of ", steps.size(), " equations are right"));
  score.steps = std::move(steps);
  return score;
}

}  // namespace hone::reward
