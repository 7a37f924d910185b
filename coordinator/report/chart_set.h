// Which charts a stage's report shows, by the metrics that it has. Pure.
#pragma once

#include <string>
#include <vector>

#include "coordinator/report/run_history.h"
#include "coordinator/report/svg_chart.h"

namespace hone::coordinator {

// In order of interest; those without data come out of SvgChart as "".
std::vector<Chart> ChartsOf(const RunHistory& history, const std::string& stage);

}  // namespace hone::coordinator
