// Line charts as inline SVG, drawn by plain arithmetic. Colours and type come from the page's style sheet through class
// names, so that one drawing serves light and dark. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hone::coordinator {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), x ascending; a y that is not finite breaks the line
  bool markers = false;                           // a dot at each point: for few, separate measurements
};

struct Chart {
  std::string title;
  std::string unit;  // shown beside the title; may be ""
  std::string x_name = "step";
  std::vector<ChartSeries> series;  // at most 6; more are left out
  std::optional<double> y_min;      // the axis reaches at least this far
  std::optional<double> y_max;
};

// A <figure> with title, legend and drawing; "" where no series has a finite point.
std::string SvgChart(const Chart& chart);

// About `count` round numbers (1, 2 or 5 times a power of ten apart) that cover [low, high].
std::vector<double> NiceTicks(double low, double high, int count);

// Short text for an axis or a table: 4 significant digits, thousands as k, M, G.
std::string ShortNumber(double value);

// `text` fit for element content and attribute values.
std::string EscapeHtml(const std::string& text);

}  // namespace hone::coordinator
