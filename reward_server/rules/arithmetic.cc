#include "reward_server/rules/arithmetic.h"

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

enum class Kind {
  kNumber,
  kTerm,  // a number that this rule does not read, or x2
  kSign,
  kOther,
};

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
    if (const auto spelling = LongestSpelling(); spelling != words_.end()) {
      token.kind = Kind::kSign;
      token.sign = spelling->second;
      at_ += spelling->first.size();
    } else if (IsDigit(text_[at_])) {
      token.kind = Number(&token.number) ? Kind::kNumber : Kind::kTerm;
    } else if (const size_t end = WordEnd(text_, at_); end > at_) {
      const bool han = ScriptOf(CharacterAt(at_)) == Script::kHan;
      at_ = end;
      if (!han && at_ < text_.size() && IsDigit(text_[at_])) {  // x2
        Number(&token.number);
        token.kind = Kind::kTerm;
      }
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
  // False where it is none that this rule reads: 1.5, 1,000, or beyond 64 bits. (A full stop behind a number ends a
  // sentence.)
  bool Number(int64_t* number) {
    const size_t begin = at_;
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
    bool read = std::from_chars(text_.data() + begin, text_.data() + at_, *number).ec == std::errc();
    while (at_ + 1 < text_.size() && (text_[at_] == '.' || text_[at_] == ',') && IsDigit(text_[at_ + 1])) {
      read = false;
      while (++at_ < text_.size() && IsDigit(text_[at_])) {
      }
    }
    return read;
  }

  char32_t CharacterAt(size_t at) const { return NextCodePoint(text_, &at); }

  // The longest of the words that stands here; one of letters not inside of a longer word.
  std::map<std::string, char, std::less<>>::const_iterator LongestSpelling() const {
    auto longest = words_.end();
    for (auto word = words_.begin(); word != words_.end(); ++word) {
      if (!text_.substr(at_).starts_with(word->first)) continue;
      if (longest != words_.end() && word->first.size() <= longest->first.size()) continue;
      if (!EndsInsideOfWord(word->first)) longest = word;
    }
    return longest;
  }

  bool EndsInsideOfWord(std::string_view word) const {
    const size_t end = at_ + word.size();
    if (end == text_.size()) return false;
    size_t last = word.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(word[last]) & 0xc0) == 0x80) --last;
    const Script before = ScriptOf(CharacterAt(at_ + last)), behind = ScriptOf(CharacterAt(end));
    if (before == Script::kNone || before == Script::kHan) return false;
    return (behind != Script::kNone && behind != Script::kHan) || IsDigit(text_[end]);
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
  std::optional<int64_t> Value() const {
    Sum whole = *this;
    whole.Fold();
    return whole.ok_ ? std::optional(whole.total_) : std::nullopt;
  }

 private:
  void Fold() { ok_ = ok_ && !__builtin_add_overflow(total_, term_, &total_); }

  bool ok_ = true;
  int64_t total_ = 0, term_ = 0;
};

// Follows a text token by token. Sides of equations are sums between equals signs; two that stand side by side are
// judged where at least one has an operation. An expression with a part that this rule does not read is passed over to
// its end: what is left of it would mean something else.
class Judge {
 public:
  explicit Judge(int64_t modulus) : modulus_(modulus) {}

  void Read(const Token& token) {
    switch (token.kind) {
      case Kind::kNumber:
        return ReadNumber(token);
      case Kind::kTerm:
        EndSide();
        state_ = State::kBroken;
        return;
      case Kind::kSign:
        return token.sign == '=' ? ReadEquals() : ReadOperator(token.sign);
      case Kind::kOther:
        EndSide();
        state_ = State::kNothing;
    }
  }
  std::vector<StepValue> End() {
    EndSide();
    return std::move(steps_);
  }

 private:
  // What was read last; kMinus: one behind an equals sign.
  enum class State { kNothing, kNumber, kOperator, kEquals, kMinus, kBroken };

  void ReadNumber(const Token& token) {
    if (state_ == State::kBroken) return;
    if (state_ == State::kOperator) {
      side_.Add(operator_, token.number);
      ++operations_;
    } else {
      if (state_ == State::kNumber) EndSide();  // it begins anew
      side_.Begin(state_ == State::kMinus ? -token.number : token.number);
      operations_ = 0;
    }
    end_ = token.end;
    state_ = State::kNumber;
  }

  void ReadEquals() {
    const bool whole = state_ == State::kNumber;
    EndSide();
    left_ = whole ? std::optional(side_) : std::nullopt;
    left_operations_ = operations_;
    state_ = State::kEquals;
  }

  void ReadOperator(char sign) {
    if (state_ == State::kNumber) {
      operator_ = sign;
      state_ = State::kOperator;
    } else if (state_ == State::kEquals && sign == '-') {
      state_ = State::kMinus;
    } else {
      EndSide();
      state_ = State::kBroken;
    }
  }

  // Judges the equation whose right side this was.
  void EndSide() {
    if (left_.has_value() && state_ == State::kNumber && left_operations_ + operations_ > 0) {
      steps_.push_back({end_, Equal(left_->Value(), side_.Value()) ? 1.0 : 0.0});
    }
    left_.reset();
  }

  bool Equal(std::optional<int64_t> left, std::optional<int64_t> right) const {
    if (!left.has_value() || !right.has_value()) return false;
    if (modulus_ <= 0) return *left == *right;
    const auto reduced = [this](int64_t value) {
      const int64_t rest = value % modulus_;
      return rest < 0 ? rest + modulus_ : rest;
    };
    return reduced(*left) == reduced(*right);
  }

  const int64_t modulus_;
  State state_ = State::kNothing;
  std::optional<Sum> left_;  // the side before the equals sign
  Sum side_;
  int left_operations_ = 0, operations_ = 0;
  char operator_ = 0;
  size_t end_ = 0;  // of the side
  std::vector<StepValue> steps_;
};

}  // namespace

ArithmeticRule::ArithmeticRule(const std::map<std::string, std::string>& words, int64_t modulus) : modulus_(modulus) {
  for (const auto& [word, sign] : words) {
    if (!sign.empty()) words_[word] = sign[0];
  }
}

ComponentScore ArithmeticRule::Score(std::string_view text) const {
  Lexer lexer(text, words_);
  Judge judge(modulus_);
  while (const std::optional<Token> token = lexer.Next()) judge.Read(*token);
  std::vector<StepValue> steps = judge.End();
  if (steps.empty()) return Scored(0, "no equation");
  double right = 0;
  for (const StepValue& step : steps) right += step.value;
  ComponentScore score = Scored(right / static_cast<double>(steps.size()),
                                absl::StrCat(right, " of ", steps.size(), " equations are right"));
  score.steps = std::move(steps);
  return score;
}

}  // namespace hone::reward
