// What `hone` exits with. Documented in `hone help exit-codes`; scripts rely on them.
#pragma once

#include "absl/status/status.h"

namespace hone::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,        // the run failed, or something unforeseen went wrong
  kExitUsage = 2,         // unknown command or flag, missing argument
  kExitNotFound = 3,      // no such file, run, stage or data set
  kExitUnavailable = 4,   // the coordinator cannot be reached, or a program does not start
  kExitInvalidInput = 5,  // a run file, data file or model file is wrong
  kExitRefused = 6,       // the state does not allow it: it exists already, is finished, is in use, may not be written
  kExitStopped = 7,       // the run was stopped before its end
};

// The code for a failed call. OK gives kExitOk.
int ExitCodeOf(const absl::Status& status);

}  // namespace hone::cli
