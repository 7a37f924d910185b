#include "base/strings.h"

#include <algorithm>

#include "base/utf8.h"

namespace hone {

std::string ToHex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const unsigned char c : bytes) {
    out.push_back(kDigits[c >> 4]);
    out.push_back(kDigits[c & 15]);
  }
  return out;
}

bool IsValidUtf8(std::string_view s) {
  while (!s.empty()) {
    char32_t code_point;
    const size_t size = DecodeCharacter(s, &code_point);
    if (size == 0) return false;
    s.remove_prefix(size);
  }
  return true;
}

std::string MendUtf8(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    char32_t code_point;
    const size_t size = DecodeCharacter(s, &code_point);
    if (size == 0) {
      out += "\xEF\xBF\xBD";
    } else {
      out += s.substr(0, size);
    }
    s.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

int EditDistance(std::string_view a, std::string_view b) {
  const size_t n = b.size() + 1;
  std::vector<std::vector<int>> d(a.size() + 1, std::vector<int>(n));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = static_cast<int>(i);
  for (size_t j = 0; j < n; ++j) d[0][j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j < n; ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::string NearestName(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  int best_distance = 1 + static_cast<int>(word.size()) / 4;
  for (const std::string& c : candidates) {
    const int distance = EditDistance(word, c);
    if (distance <= best_distance && (best.empty() || distance < best_distance)) {
      best = c;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace hone
