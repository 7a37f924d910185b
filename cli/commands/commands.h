// The functions behind the commands: one file each. `args` are the arguments after the command's name; the result is
// the exit code (cli/exit_codes.h).
#pragma once

#include <string>
#include <vector>

namespace hone::cli {

using Args = std::vector<std::string>;

int RunUp(const Args& args);
int RunDown(const Args& args);
int RunRun(const Args& args);
int RunStatus(const Args& args);
int RunWatch(const Args& args);
int RunSamples(const Args& args);
int RunMetrics(const Args& args);
int RunStop(const Args& args);
int RunPause(const Args& args);
int RunResume(const Args& args);
int RunExport(const Args& args);
int RunGenerate(const Args& args);
int RunServe(const Args& args);
int RunModelImport(const Args& args);
int RunModelHash(const Args& args);
int RunDataMake(const Args& args);
int RunDataGet(const Args& args);
int RunDataFilter(const Args& args);
int RunVersion(const Args& args);

}  // namespace hone::cli
