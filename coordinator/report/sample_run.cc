// Writes the made-up run of the tests into the folder given, for checks by other programs
// (tests/parity/tfevents_parity.py).
#include <cstdio>
#include <string>

#include "coordinator/report/report_test_data.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "Usage: report_sample_run FOLDER\n");
    return 2;
  }
  auto reporter = hone::coordinator::RunReporter::Open(hone::coordinator::MakeOptions(argv[1]));
  const absl::Status status = reporter.ok() ? hone::coordinator::ReportWholeRun(reporter->get()) : reporter.status();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
