#include "coordinator/report/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hone::coordinator {
namespace {

constexpr double kWidth = 400, kHeight = 216;
constexpr double kLeft = 46, kRight = 12, kTop = 10, kBottom = 28;
constexpr size_t kMaxSeries = 6;
constexpr size_t kMaxPoints = 300;  // longer series are averaged into this many buckets
constexpr size_t kSmoothFrom = 24;  // series at least this long get a moving average over a pale raw line
constexpr size_t kMaxTooltips = 120;
constexpr int kMaxTicks = 64;

using Points = std::vector<std::pair<double, double>>;

struct Scale {
  double low, high;       // of the data axis
  double pixel0, pixel1;  // where low and high are drawn
  double operator()(double v) const { return pixel0 + (v - low) / (high - low) * (pixel1 - pixel0); }
};

bool Finite(const std::pair<double, double>& p) { return std::isfinite(p.first) && std::isfinite(p.second); }

Points Thinned(const Points& points) {
  if (points.size() <= kMaxPoints) return points;
  Points result;
  for (size_t b = 0; b < kMaxPoints; ++b) {
    double x = 0, y = 0;
    size_t n = 0;
    for (size_t i = b * points.size() / kMaxPoints; i < (b + 1) * points.size() / kMaxPoints; ++i) {
      if (!Finite(points[i])) continue;
      x += points[i].first;
      y += points[i].second;
      ++n;
    }
    if (n > 0) result.emplace_back(x / static_cast<double>(n), y / static_cast<double>(n));
  }
  return result;
}

// Moving average over about a tenth of the series around each point, less at the ends.
Points Smoothed(const Points& points) {
  const size_t half = std::max<size_t>(2, points.size() / 20);
  Points result;
  for (size_t i = 0; i < points.size(); ++i) {
    double sum = 0;
    size_t n = 0;
    for (size_t j = i - std::min(half, i); j <= std::min(i + half, points.size() - 1); ++j) {
      if (!Finite(points[j])) continue;
      sum += points[j].second;
      ++n;
    }
    result.emplace_back(points[i].first, n > 0 ? sum / static_cast<double>(n) : points[i].second);
  }
  return result;
}

std::string Path(const Points& points, const Scale& x, const Scale& y, const std::string& classes) {
  std::string d;
  bool pen_down = false;
  for (const auto& p : points) {
    if (!Finite(p)) {
      pen_down = false;
      continue;
    }
    absl::StrAppendFormat(&d, "%c%.1f %.1f", pen_down ? 'L' : 'M', x(p.first), y(p.second));
    pen_down = true;
  }
  return absl::StrCat("<path class=\"", classes, "\" d=\"", d, "\"/>");
}

std::string DrawSeries(const ChartSeries& series, size_t index, const Scale& x, const Scale& y,
                       const std::string& x_name) {
  const std::string colour = absl::StrCat("c", index + 1);
  const Points points = Thinned(series.points);
  std::string svg;
  if (!series.markers && points.size() >= kSmoothFrom) {
    svg +=
        Path(points, x, y, absl::StrCat("raw ", colour)) + Path(Smoothed(points), x, y, absl::StrCat("line ", colour));
  } else {
    svg += Path(points, x, y, absl::StrCat("line ", colour));
  }
  const bool few = series.markers || points.size() < 2;
  const size_t stride = std::max<size_t>(1, points.size() / kMaxTooltips);
  for (size_t i = 0; i < points.size(); i += stride) {
    if (!Finite(points[i])) continue;
    absl::StrAppendFormat(
        &svg, "<circle class=\"%s %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>%s: %s at %s %s</title></circle>",
        few ? "dot" : "hit", colour, x(points[i].first), y(points[i].second), few ? "3" : "6", EscapeHtml(series.name),
        ShortNumber(points[i].second), EscapeHtml(x_name), ShortNumber(points[i].first));
  }
  return svg;
}

std::string DrawAxes(const std::vector<double>& x_ticks, const std::vector<double>& y_ticks, const Scale& x,
                     const Scale& y, const std::string& x_name) {
  std::string svg;
  for (const double tick : y_ticks) {
    absl::StrAppendFormat(&svg, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", kLeft,
                          kWidth - kRight, y(tick), y(tick));
    absl::StrAppendFormat(&svg, "<text class=\"tick end\" x=\"%.1f\" y=\"%.1f\">%s</text>", kLeft - 6, y(tick) + 3.5,
                          ShortNumber(tick));
  }
  for (const double tick : x_ticks) {
    if (tick < x.low || tick > x.high) continue;
    absl::StrAppendFormat(&svg, "<text class=\"tick mid\" x=\"%.1f\" y=\"%.1f\">%s</text>", x(tick), kHeight - 12,
                          ShortNumber(tick));
  }
  absl::StrAppendFormat(&svg, "<text class=\"tick end\" x=\"%.1f\" y=\"%.1f\">%s</text>", kWidth - kRight,
                        kHeight - 1.0, EscapeHtml(x_name));
  return svg;
}

struct Bounds {
  double x_low = std::numeric_limits<double>::infinity(), x_high = -x_low;
  double y_low = x_low, y_high = -x_low;
  bool empty() const { return x_low > x_high; }
};

Bounds BoundsOf(const Chart& chart) {
  Bounds b;
  for (size_t s = 0; s < std::min(chart.series.size(), kMaxSeries); ++s) {
    for (const auto& p : chart.series[s].points) {
      if (!Finite(p)) continue;
      b.x_low = std::min(b.x_low, p.first);
      b.x_high = std::max(b.x_high, p.first);
      b.y_low = std::min(b.y_low, p.second);
      b.y_high = std::max(b.y_high, p.second);
    }
  }
  if (b.empty()) return b;
  if (chart.y_min) b.y_low = std::min(b.y_low, *chart.y_min);
  if (chart.y_max) b.y_high = std::max(b.y_high, *chart.y_max);
  // A flat line is drawn in the middle of an axis of its own magnitude.
  if (b.y_high - b.y_low <= 1e-9 * std::max(std::abs(b.y_low), std::abs(b.y_high))) {
    const double margin = b.y_low == 0 ? 1 : std::abs(b.y_low) * 0.1;
    b.y_low -= b.y_low == 0 ? 0 : margin;
    b.y_high += margin;
  }
  if (b.x_high <= b.x_low) b.x_high = b.x_low + 1;
  return b;
}

}  // namespace

std::string SvgChart(const Chart& chart) {
  const Bounds b = BoundsOf(chart);
  if (b.empty()) return "";
  const std::vector<double> y_ticks = NiceTicks(b.y_low, b.y_high, 6);
  const std::vector<double> x_ticks = NiceTicks(b.x_low, b.x_high, 6);
  const Scale x{b.x_low, b.x_high, kLeft, kWidth - kRight};
  const Scale y{y_ticks.front(), y_ticks.back(), kHeight - kBottom, kTop};
  std::string legend, drawing;
  for (size_t s = 0; s < std::min(chart.series.size(), kMaxSeries); ++s) {
    const Points& points = chart.series[s].points;
    if (std::none_of(points.begin(), points.end(), Finite)) continue;
    absl::StrAppend(&legend, "<span class=\"key c", s + 1, "\">", EscapeHtml(chart.series[s].name), "</span>");
    drawing += DrawSeries(chart.series[s], s, x, y, chart.x_name);
  }
  const std::string unit = chart.unit.empty() ? "" : absl::StrCat(" <small>", EscapeHtml(chart.unit), "</small>");
  return absl::StrCat("<figure><figcaption><b>", EscapeHtml(chart.title), "</b>", unit, "<div class=\"legend\">",
                      legend, "</div></figcaption><svg viewBox=\"0 0 ", kWidth, " ", kHeight,
                      "\" role=\"img\" aria-label=\"", EscapeHtml(chart.title), "\">",
                      DrawAxes(x_ticks, y_ticks, x, y, chart.x_name), drawing, "</svg></figure>\n");
}

std::vector<double> NiceTicks(double low, double high, int count) {
  const double rough = (high - low) / std::max(1, count - 1);
  const double magnitude = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * magnitude;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * magnitude >= rough * 0.999) {
      step = factor * magnitude;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  for (int k = 0; first + k <= last && k < kMaxTicks; ++k) ticks.push_back((first + k) * step);
  return ticks;
}

std::string ShortNumber(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const double size = std::abs(value);
  if (size >= 1e9) return absl::StrFormat("%.4gG", value / 1e9);
  if (size >= 1e6) return absl::StrFormat("%.4gM", value / 1e6);
  if (size >= 1e4) return absl::StrFormat("%.4gk", value / 1e3);
  // Rounding errors of tick arithmetic, such as 0.30000000000000004, vanish in four digits.
  return absl::StrFormat("%.4g", size < 1e-12 ? 0.0 : value);
}

std::string EscapeHtml(const std::string& text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

}  // namespace hone::coordinator
