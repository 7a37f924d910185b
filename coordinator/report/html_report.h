// The run on one page: headline figures, before and after, charts of each training stage, samples, the run file.
// Self-contained: no script, no external font, image or style. Every text that came from data or a model is escaped.
// Pure.
#pragma once

#include <string>

#include "coordinator/report/run_history.h"
#include "coordinator/report/summary.h"

namespace hone::coordinator {

std::string HtmlReport(const RunHistory& history, const RunSummary& summary);

// The page's style sheet (html_style.cc).
extern const char kReportStyle[];

}  // namespace hone::coordinator
