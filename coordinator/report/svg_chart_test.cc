#include "coordinator/report/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace hone::coordinator {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

int Count(const std::string& text, const std::string& what) {
  int count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST(NiceTicksTest, RoundStepsThatCoverTheRange) {
  EXPECT_THAT(NiceTicks(0, 1, 6), ElementsAre(0, DoubleEq(0.2), DoubleEq(0.4), DoubleEq(0.6), DoubleEq(0.8), 1));
  EXPECT_THAT(NiceTicks(0, 80, 5), ElementsAre(0, 20, 40, 60, 80));
  EXPECT_THAT(NiceTicks(-3, 7, 3), ElementsAre(-5, 0, 5, 10));
  EXPECT_THAT(NiceTicks(13, 27, 4), ElementsAre(10, 15, 20, 25, 30));
}

TEST(NiceTicksTest, HostileRangesEnd) {
  EXPECT_LE(NiceTicks(1e20, std::nextafter(1e20, 2e20), 5).size(), 64u);
  EXPECT_LE(NiceTicks(-1e308, 1e308, 5).size(), 64u);
  EXPECT_LE(NiceTicks(5e-324, 1e-323, 5).size(), 64u);
}

TEST(ShortNumberTest, FourDigits) {
  EXPECT_EQ(ShortNumber(0.30000000000000004), "0.3");
  EXPECT_EQ(ShortNumber(1234), "1234");
  EXPECT_EQ(ShortNumber(12345), "12.35k");
  EXPECT_EQ(ShortNumber(-2500000), "-2.5M");
  EXPECT_EQ(ShortNumber(3e-5), "3e-05");
  EXPECT_EQ(ShortNumber(NAN), "nan");
}

TEST(SvgChartTest, DrawsEachSeriesWithLegendAndTooltips) {
  Chart chart{"Reward <1>", "mean", "step", {{"a & b", {{1, 0}, {2, 1}}, false}, {"second", {{1, 0.5}}, true}},
              0.0,          1.0};
  const std::string svg = SvgChart(chart);
  EXPECT_THAT(svg, HasSubstr("Reward &lt;1&gt;"));
  EXPECT_THAT(svg, HasSubstr("a &amp; b"));
  EXPECT_EQ(Count(svg, "<path class=\"line "), 2);
  EXPECT_THAT(svg, HasSubstr("<title>a &amp; b: 1 at step 2</title>"));
  // (1, 0) is the lower left corner of the plot, (2, 1) the upper right.
  EXPECT_THAT(svg, HasSubstr("d=\"M46.0 188.0L388.0 10.0\""));
}

TEST(SvgChartTest, GapsBreakTheLineAndEmptyChartsVanish) {
  const Chart gap{"t", "", "step", {{"a", {{1, 0}, {2, NAN}, {3, 1}}, false}}, {}, {}};
  EXPECT_EQ(Count(SvgChart(gap).substr(SvgChart(gap).find(" d=\"")), "M"), 2);
  EXPECT_EQ(SvgChart({"t", "", "step", {{"a", {{1, NAN}}, false}}, {}, {}}), "");
  EXPECT_EQ(SvgChart({"t", "", "step", {}, {}, {}}), "");
}

TEST(SvgChartTest, FlatAndSinglePointSeriesHaveFiniteCoordinates) {
  for (const double value : {0.0, 7.0, -1e300, 1e-300}) {
    const std::string svg = SvgChart({"t", "", "step", {{"a", {{5, value}}, false}}, {}, {}});
    EXPECT_THAT(svg, HasSubstr("<circle class=\"dot"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

TEST(SvgChartTest, LongSeriesAreThinnedAndSmoothed) {
  ChartSeries series{"a", {}, false};
  for (int i = 0; i < 100000; ++i) series.points.emplace_back(i, i % 7);
  const std::string svg = SvgChart({"t", "", "step", {series}, {}, {}});
  EXPECT_EQ(Count(svg, "<path class=\"raw "), 1);
  EXPECT_LT(svg.size(), 60000u);
}

}  // namespace
}  // namespace hone::coordinator
