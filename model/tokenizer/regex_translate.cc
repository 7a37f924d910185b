#include <algorithm>
#include <array>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

// Contents of character classes. PCRE2's \s has U+180E and its \w lacks marks, which Oniguruma's do not.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff})";
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

constexpr std::array<std::string_view, 37> kCategories = {
    "C", "Cc", "Cf", "Co", "Cs", "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl", "No",
    "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cn"};
constexpr std::array<std::string_view, 12> kScripts = {"Han",        "Hiragana", "Katakana", "Hangul",
                                                       "Latin",      "Greek",    "Arabic",   "Cyrillic",
                                                       "Devanagari", "Hebrew",   "Thai",     "Bopomofo"};

std::string Literal(char32_t c) { return absl::StrFormat("\\x{%x}", static_cast<uint32_t>(c)); }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (!AtEnd()) HONE_RETURN_IF_ERROR(Item());
    return std::move(out_);
  }

 private:
  // One thing that may stand in a character class: a single code point or the contents of a class.
  struct Element {
    bool single;
    char32_t code_point;
    std::string contents;  // as it stands inside [...]
  };

  bool AtEnd() const { return position_ >= pattern_.size(); }
  bool Looking(std::string_view text) const { return pattern_.substr(position_).starts_with(text); }
  char32_t Next() { return NextCodePoint(pattern_, &position_); }
  bool Accept(std::string_view text) {
    if (!Looking(text)) return false;
    position_ += text.size();
    return true;
  }
  absl::Status Unsupported(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("pattern '", ToAbsl(pattern_.substr(0, 300)), "': ", ToAbsl(what),
                                                   " at byte ", position_, " is not supported"));
  }

  absl::Status Item() {
    if (Accept("[")) return Class();
    if (Accept("(")) return Group();
    if (Accept("\\")) return OutsideEscape();
    if (Looking("{")) return Interval();
    if (Accept("^")) return Emit("(?m:^)");  // Ruby's anchors are those of lines
    if (Accept("$")) return Emit("(?m:$)");
    const char32_t c = Next();
    if (c < 0x80 && std::string_view("|)*+?.").find(static_cast<char>(c)) != std::string_view::npos) {
      return Emit(std::string(1, static_cast<char>(c)));
    }
    return Emit(Literal(c));
  }

  absl::Status Emit(std::string_view text) {
    out_.append(text);
    return absl::OkStatus();
  }

  absl::Status Group() {
    out_ += '(';
    if (!Looking("?")) return absl::OkStatus();
    for (const std::string_view prefix : {"?:", "?=", "?!", "?>", "?<=", "?<!", "?i:", "?i)", "?-i:"}) {
      if (Accept(prefix)) return Emit(prefix);
    }
    return Unsupported("this kind of group");
  }

  // {n}, {n,}, {n,m}, and Ruby's {,m}; anything else in braces is literal text.
  absl::Status Interval() {
    size_t i = position_ + 1;
    const auto digits = [&] {
      const size_t start = i;
      while (i < pattern_.size() && std::isdigit(static_cast<unsigned char>(pattern_[i]))) ++i;
      return std::string(pattern_.substr(start, i - start));
    };
    std::string low = digits();
    std::string high = low;
    const bool comma = i < pattern_.size() && pattern_[i] == ',';
    if (comma) {
      ++i;
      high = digits();
    }
    if (i >= pattern_.size() || pattern_[i] != '}' || (low.empty() && high.empty())) {
      ++position_;
      return Emit("\\{");
    }
    position_ = i + 1;
    if (Looking("+")) return Unsupported("'+' behind an interval");  // possessive in PCRE2, repeated in Ruby
    if (low.empty()) low = "0";
    return Emit(absl::StrCat("{", low, comma ? "," : "", comma ? high : "", "}"));
  }

  absl::Status OutsideEscape() {
    if (Accept("A")) return Emit("\\A");
    if (Accept("z")) return Emit("\\z");
    if (Accept("S")) return Emit(absl::StrCat("[^", ToAbsl(kSpace), "]"));
    if (Accept("W")) return Emit(absl::StrCat("[^", ToAbsl(kWord), "]"));
    HONE_ASSIGN_OR_RETURN(const Element element, Escape());
    if (element.single) return Emit(Literal(element.code_point));
    return Emit(absl::StrCat("[", element.contents, "]"));
  }

  static Element Single(char32_t c) { return {true, c, ""}; }
  static Element Set(std::string_view contents) { return {false, 0, std::string(contents)}; }

  // Behind a backslash.
  absl::StatusOr<Element> Escape() {
    if (AtEnd()) return Unsupported("a backslash at the end");
    const char32_t c = Next();
    switch (c) {
      case 'r':
        return Single('\r');
      case 'n':
        return Single('\n');
      case 't':
        return Single('\t');
      case 'f':
        return Single('\f');
      case 'v':
        return Single('\v');
      case 'a':
        return Single('\a');
      case 'e':
        return Single(0x1b);
      case 's':
        return Set(kSpace);
      case 'S':
        return Set(kNotSpace);
      case 'd':
        return Set("\\p{Nd}");
      case 'D':
        return Set("\\P{Nd}");
      case 'w':
        return Set(kWord);
      case 'p':
        return Property(false);
      case 'P':
        return Property(true);
      case 'x':
        return Hexadecimal();
      case 'u':
        return Digits(4);
      default:
        break;
    }
    if (c < 0x80 && std::isalnum(static_cast<int>(c))) {
      return Unsupported(absl::StrCat("escape '\\", std::string(1, static_cast<char>(c)), "'"));
    }
    return Single(c);
  }

  absl::StatusOr<Element> Property(bool negated) {
    if (!Accept("{")) return Unsupported("a property without braces");
    if (Accept("^")) negated = !negated;
    const size_t end = pattern_.find('}', position_);
    if (end == std::string_view::npos) return Unsupported("a property without an end");
    const std::string_view name = pattern_.substr(position_, end - position_);
    const bool category = std::find(kCategories.begin(), kCategories.end(), name) != kCategories.end();
    const bool script = std::find(kScripts.begin(), kScripts.end(), name) != kScripts.end();
    if (!category && !script) return Unsupported(absl::StrCat("property '", ToAbsl(name.substr(0, 40)), "'"));
    position_ = end + 1;
    return Set(absl::StrCat(negated ? "\\P{" : "\\p{", script ? "sc:" : "", ToAbsl(name), "}"));
  }

  absl::StatusOr<Element> Hexadecimal() {
    if (Accept("{")) {
      HONE_ASSIGN_OR_RETURN(const Element element, Digits(0));
      if (!Accept("}")) return Unsupported("a code point without an end");
      return element;
    }
    HONE_ASSIGN_OR_RETURN(const Element element, Digits(2));
    // Oniguruma takes \xHH for a byte of the UTF-8 pattern.
    if (element.code_point >= 0x80) return Unsupported("a byte above 0x7f");
    return element;
  }

  // Exactly `count` hexadecimal digits, or one to six where `count` is 0.
  absl::StatusOr<Element> Digits(int count) {
    char32_t value = 0;
    int seen = 0;
    while (!AtEnd() && seen < (count == 0 ? 6 : count) &&
           std::isxdigit(static_cast<unsigned char>(pattern_[position_]))) {
      const char digit = static_cast<char>(std::tolower(static_cast<unsigned char>(pattern_[position_++])));
      value = value * 16 + static_cast<char32_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
      ++seen;
    }
    if (seen == 0 || (count > 0 && seen != count) || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
      return Unsupported("this code point");
    }
    return Single(value);
  }

  absl::StatusOr<Element> ClassElement() {
    if (Accept("\\")) return Escape();
    if (Looking("[")) return Unsupported("a class within a class");
    if (Looking("&&")) return Unsupported("an intersection of classes");
    return Single(Next());
  }

  // Behind '['.
  absl::Status Class() {
    out_ += Accept("^") ? "[^" : "[";
    if (Looking("]")) return Unsupported("an empty class");
    while (!Looking("]")) {
      if (AtEnd()) return Unsupported("a class without an end");
      HONE_ASSIGN_OR_RETURN(const Element first, ClassElement());
      out_ += first.single ? Literal(first.code_point) : first.contents;
      if (!Looking("-") || Looking("-]")) continue;
      if (!first.single) return Unsupported("a range from a class");
      ++position_;
      if (AtEnd()) return Unsupported("a class without an end");
      HONE_ASSIGN_OR_RETURN(const Element last, ClassElement());
      if (!last.single || last.code_point < first.code_point) return Unsupported("this range");
      absl::StrAppend(&out_, "-", Literal(last.code_point));
    }
    ++position_;
    out_ += ']';
    return absl::OkStatus();
  }

  std::string_view pattern_;
  size_t position_ = 0;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> TranslatePattern(std::string_view pattern) {
  if (!IsValidUtf8(pattern)) return absl::InvalidArgumentError("the pattern is not UTF-8");
  return Translator(pattern).Run();
}

}  // namespace hone::model
