#include "reward_server/math/number.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/utf8.h"
#include "reward_server/rules/unicode.h"

namespace hone::reward {
namespace {

constexpr size_t kMaxTextBytes = 2000;
constexpr size_t kMaxDigits = 300;
constexpr int kMaxExponent = 300;

constexpr std::pair<std::string_view, std::string_view> kRewrites[] = {
    {"\\left", ""},  {"\\right", ""}, {"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"\\cfrac", "\\frac"}, {"\\,", ""},
    {"\\!", ""},     {"\\;", ""},     {"\\ ", " "},          {"{,}", ","},          {"\\$", "$"},          {"\\%", "%"},
    {"\u2212", "-"}, {"\u00a0", " "}, {"\u2009", " "},       {"\u202f", " "},       {"\uff05", "%"},       {"\\(", ""},
    {"\\)", ""},     {"\\[", ""},     {"\\]", ""},
};

constexpr std::string_view kCurrencies[] = {"US$", "$",   "€",   "£",   "¥",   "￥", "₹",
                                            "₩",   "USD", "EUR", "GBP", "RMB", "CNY"};

// Words and ideographs that multiply: a number with one of them is another number.
constexpr std::string_view kScaleWords[] = {"hundred",  "thousand",  "million",  "billion",   "trillion",
                                            "dozen",    "half",      "hundreds", "thousands", "millions",
                                            "billions", "trillions", "dozens",   "k",         "pi"};
constexpr std::u32string_view kScaleIdeographs = U"十百千万萬亿億兆半";
// Single letters that are units even where they touch the number; any other may be a variable.
constexpr std::string_view kUnitLetters = "msghlLWVAJNKCF";
constexpr std::string_view kTextCommands[] = {"\\text", "\\textbf", "\\textit", "\\mathrm", "\\mbox", "\\rm"};

std::string Cleaned(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto* rewrite = std::find_if(std::begin(kRewrites), std::end(kRewrites),
                                       [&](const auto& r) { return text.compare(at, r.first.size(), r.first) == 0; });
    if (rewrite != std::end(kRewrites)) {
      out += rewrite->second;
      at += rewrite->first.size();
    } else {
      out += text[at++];
    }
  }
  std::string_view view = Trim(out);
  while (view.size() >= 2 && view.front() == '$' && view.back() == '$') view = Trim(view.substr(1, view.size() - 2));
  while (!view.empty() && (view.back() == '.' || view.back() == ',')) view = Trim(view.substr(0, view.size() - 1));
  return std::string(view);
}

// Reads one number from the front of `rest`, step by step; a step that does not apply leaves `rest` as it was.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  std::optional<Number> Read() {
    SkipVariable();
    Number number;
    bool sign_seen = false;
    for (SkipSpace(); SkipSign(&number, &sign_seen) || SkipCurrency(); SkipSpace()) {
    }
    if (!ReadMagnitude(&number)) return std::nullopt;
    const bool attached = !rest_.empty() && !IsSpace(rest_.front());
    SkipSpace();
    number.percent = Skip("%");
    if (!OnlyUnitsLeft(attached && !number.percent)) return std::nullopt;
    if (number.numerator.IsZero()) number.negative = false;
    return number;
  }

 private:
  // An unsigned decimal as digits and the power of ten that divides them (negative: multiplies).
  struct Decimal {
    std::string digits;
    int scale = 0;
    bool whole = true;  // digits (and separators) alone
  };

  bool Skip(std::string_view prefix) {
    if (rest_.substr(0, prefix.size()) != prefix) return false;
    rest_.remove_prefix(prefix.size());
    return true;
  }
  void SkipSpace() {
    while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
  }
  char Peek(size_t i = 0) const { return i < rest_.size() ? rest_[i] : '\0'; }

  // "x =", "answer="
  void SkipVariable() {
    size_t i = 0;
    while (IsAsciiLetter(Peek(i))) ++i;
    if (i == 0) return;
    while (IsSpace(Peek(i))) ++i;
    if (Peek(i) == '=') rest_.remove_prefix(i + 1);
  }
  bool SkipSign(Number* number, bool* seen) {
    if (*seen || (Peek() != '-' && Peek() != '+')) return false;
    number->negative = Peek() == '-';
    *seen = true;
    rest_.remove_prefix(1);
    return true;
  }
  bool SkipCurrency() {
    if (currency_seen_) return false;
    for (const std::string_view currency : kCurrencies) {
      if (Skip(currency)) return currency_seen_ = true;
    }
    return false;
  }

  std::optional<Decimal> ReadDecimal() {
    Decimal decimal;
    const std::string_view start = rest_;
    while (IsDigit(Peek())) TakeDigit(&decimal);
    // Separators count only where every group has three digits; else the comma ends the number (and the text is a
    // list).
    if (decimal.digits.size() <= 3 && !decimal.digits.empty()) {
      while (Peek() == ',' && IsDigit(Peek(1)) && IsDigit(Peek(2)) && IsDigit(Peek(3)) && !IsDigit(Peek(4))) {
        rest_.remove_prefix(1);
        for (int i = 0; i < 3; ++i) TakeDigit(&decimal);
      }
    }
    if (Peek() == '.' && (IsDigit(Peek(1)) || !decimal.digits.empty())) {
      rest_.remove_prefix(1);
      decimal.whole = false;
      for (; IsDigit(Peek()); ++decimal.scale) TakeDigit(&decimal);
    }
    if (decimal.digits.empty() || decimal.digits.size() > kMaxDigits || !ReadExponent(&decimal)) {
      rest_ = start;
      return std::nullopt;
    }
    return decimal;
  }
  void TakeDigit(Decimal* decimal) {
    decimal->digits += Peek();
    rest_.remove_prefix(1);
  }
  // False: there is an exponent, beyond all bounds.
  bool ReadExponent(Decimal* decimal) {
    if (Peek() != 'e' && Peek() != 'E') return true;
    size_t i = 1;
    const bool negative = Peek(i) == '-';
    if (negative || Peek(i) == '+') ++i;
    if (!IsDigit(Peek(i))) return true;
    int exponent = 0;
    for (; IsDigit(Peek(i)); ++i) exponent = std::min(exponent * 10 + (Peek(i) - '0'), kMaxExponent + 1);
    if (exponent > kMaxExponent) return false;
    rest_.remove_prefix(i);
    decimal->scale += negative ? exponent : -exponent;
    decimal->whole = false;
    return true;
  }

  static void SetFraction(const Decimal& a, const Decimal& b, Number* number) {
    const int scale = a.scale - b.scale;
    number->numerator = BigUnsigned(a.digits) * BigUnsigned::PowerOfTen(std::max(0, -scale));
    number->denominator = BigUnsigned(b.digits) * BigUnsigned::PowerOfTen(std::max(0, scale));
  }

  // {3} or, as in \frac34, one digit. The sign inside of the braces goes into `negative`.
  std::optional<Decimal> ReadFracArgument(bool* negative) {
    SkipSpace();
    if (!Skip("{")) {
      if (!IsDigit(Peek())) return std::nullopt;
      Decimal digit;
      TakeDigit(&digit);
      return digit;
    }
    SkipSpace();
    if (Peek() == '-' || Peek() == '+') {
      if (Peek() == '-') *negative = !*negative;
      rest_.remove_prefix(1);
    }
    std::optional<Decimal> value = ReadDecimal();
    SkipSpace();
    if (!Skip("}")) return std::nullopt;
    return value;
  }
  bool ReadLatexFraction(Number* number) {
    if (!Skip("\\frac")) return false;
    const auto a = ReadFracArgument(&number->negative);
    if (!a) return false;
    const auto b = ReadFracArgument(&number->negative);
    if (!b) return false;
    SetFraction(*a, *b, number);
    return !number->denominator.IsZero();
  }

  bool ReadMagnitude(Number* number) {
    if (rest_.substr(0, 5) == "\\frac") return ReadLatexFraction(number);
    const auto first = ReadDecimal();
    if (!first) return false;
    const Decimal one{"1", 0, true};
    SetFraction(*first, one, number);
    const std::string_view after_first = rest_;
    SkipSpace();
    if (first->whole && rest_.substr(0, 5) == "\\frac") return ReadMixed(number, nullptr);
    if (Peek() == '/') {
      rest_.remove_prefix(1);
      SkipSpace();
      const auto second = ReadDecimal();
      if (second) {
        SetFraction(*first, *second, number);
        return !number->denominator.IsZero();
      }
    } else if (first->whole && IsDigit(Peek())) {
      if (const auto second = ReadDecimal(); second && second->whole && Skip("/")) return ReadMixed(number, &*second);
      return false;
    }
    rest_ = after_first;
    return true;
  }
  // A whole number is in `number`; the fraction that is added follows: "\frac{a}{b}", or, after "a/", b.
  bool ReadMixed(Number* number, const Decimal* a) {
    Number fraction;
    if (a == nullptr) {
      if (!ReadLatexFraction(&fraction) || fraction.negative) return false;
    } else {
      const auto b = ReadDecimal();
      if (!b || !b->whole) return false;
      SetFraction(*a, *b, &fraction);
      if (fraction.denominator.IsZero()) return false;
    }
    number->numerator = number->numerator * fraction.denominator + fraction.numerator * number->denominator;
    number->denominator = number->denominator * fraction.denominator;
    return true;
  }

  // Reads a word of letters; false where it is a scale word or may be a variable.
  bool SkipUnitWord(bool attached) {
    const std::string_view start = rest_;
    while (!rest_.empty()) {
      size_t length = 0;
      const char32_t code = NextCodePoint(rest_, &length);
      if (ScriptOf(code) == Script::kNone) break;
      if (kScaleIdeographs.find(code) != std::u32string_view::npos) return false;
      rest_.remove_prefix(length);
    }
    std::string word(start.substr(0, start.size() - rest_.size()));
    if (attached && word.size() == 1) return kUnitLetters.find(word[0]) != std::string_view::npos;
    for (char& c : word) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return std::find(std::begin(kScaleWords), std::end(kScaleWords), word) == std::end(kScaleWords);
  }
  // ^2, ^{3}, ^\circ, ^{\circ}
  bool SkipPower() {
    if (!Skip("^")) return false;
    const bool braced = Skip("{");
    if (!Skip("\\circ")) {
      if (!IsDigit(Peek())) return false;
      rest_.remove_prefix(1);
    }
    return !braced || Skip("}");
  }
  bool OnlyUnitsLeft(bool attached) {
    while (!rest_.empty()) {
      size_t length = 0;
      const char32_t code = NextCodePoint(rest_, &length);
      const char c = Peek();
      if (ScriptOf(code) != Script::kNone) {
        if (!SkipUnitWord(attached)) return false;
      } else if (c == '\\') {
        const auto* command = std::find_if(
            std::begin(kTextCommands), std::end(kTextCommands),
            [&](std::string_view text) { return rest_.substr(0, text.size()) == text && Peek(text.size()) == '{'; });
        if (command != std::end(kTextCommands)) {
          rest_.remove_prefix(command->size());
        } else if (!Skip("\\circ") && !Skip("\\degree")) {
          return false;
        }
      } else if (c == '^') {
        if (!SkipPower()) return false;
      } else if (code == U'°' || IsSpace(c) || c == '/' || c == '.' || c == '{' || c == '}' || c == '(' || c == ')') {
        rest_.remove_prefix(length);
      } else {
        return false;
      }
      attached = false;
    }
    return true;
  }

  std::string_view rest_;
  bool currency_seen_ = false;
};

bool SameValue(const Number& a, const Number& b, std::string_view b_divisor) {
  return a.negative == b.negative &&
         a.numerator * (b.denominator * BigUnsigned(b_divisor)) == b.numerator * a.denominator;
}

}  // namespace

std::optional<Number> ParseNumber(std::string_view text) {
  if (text.size() > kMaxTextBytes) return std::nullopt;
  const std::string cleaned = Cleaned(text);
  return Reader(cleaned).Read();
}

bool SameNumber(const Number& a, const Number& b) {
  if (SameValue(a, b, "1")) return true;
  if (a.percent == b.percent) return false;
  return a.percent ? SameValue(b, a, "100") : SameValue(a, b, "100");
}

}  // namespace hone::reward
