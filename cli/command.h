// The commands of `hone`, and what they share in taking arguments.
//
// A command is one file in cli/commands/, with one function declared in cli/commands/commands.h and one line in
// command.cc. To add one: write the file, add it to CMakeLists.txt, declare the function, add the line. Commands are
// thin: they translate arguments into a call of the control API or of a folder's public header.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/flags.h"

namespace hone::cli {

struct Command {
  std::string name;     // as typed after `hone`; may be two words ("data make")
  std::string summary;  // one line for `hone help`
  // `args` are those after the name. Returns the exit code.
  std::function<int(const std::vector<std::string>& args)> run;
};

// In the order of `hone help`.
const std::vector<Command>& Commands();

// Runs the command that `args` (without the program's name) begins with.
int Dispatch(const std::vector<std::string>& args);

// A command's help: `summary`, then `examples` (whole lines), then the flags.
FlagParser MakeFlags(const std::string& name, const std::string& summary, const std::vector<std::string>& examples);

// Parses; an exit code where the command must end here (--help, or an error, which is printed).
std::optional<int> ParseArgs(FlagParser* flags, const std::string& name, const std::vector<std::string>& args);

// The same for a command with positional arguments: their number must lie in [least, most]; `usage` as in "RUN".
struct Positional {
  std::string usage;
  size_t least = 0;
  size_t most = 0;
};
std::optional<int> ParseArgs(FlagParser* flags, const std::string& name, const Positional& positional,
                             const std::vector<std::string>& args, std::vector<std::string>* values);

}  // namespace hone::cli
