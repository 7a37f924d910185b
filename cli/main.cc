// The `hone` command line: control by rpc, and thin entries to the folders' public headers.
#include <string>
#include <vector>

#include "cli/command.h"

int main(int argc, char** argv) { return hone::cli::Dispatch(std::vector<std::string>(argv + 1, argv + argc)); }
