#include "cli/command.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "cli/commands/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "corpus/datasets/datasets.h"

namespace hone::cli {
namespace {

constexpr const char* kExitCodeHelp = R"(Exit codes:
  0  done; for a run that was waited for: it succeeded
  1  the run failed, or something unforeseen went wrong
  2  unknown command or flag, missing argument
  3  not found: a file, run, stage or data set
  4  unavailable: the coordinator cannot be reached, or a program does not start
  5  invalid input: a run file, data file or model file is wrong
  6  refused: it exists already, is in use, or the state does not allow it
  7  the run was stopped before its end
)";

// A line for each: name and summary.
std::string CommandRows(const std::vector<Command>& commands) {
  Table table({"", "", ""});
  for (const Command& command : commands) table.Add({" ", command.name, command.summary});
  const std::string rows = table.ToText();
  return rows.substr(rows.find('\n') + 1);
}

// The commands of two words that begin with `first`.
std::vector<Command> Group(const std::string& first) {
  std::vector<Command> group;
  for (const Command& command : Commands()) {
    if (command.name.starts_with(first + " ")) group.push_back(command);
  }
  return group;
}

std::string GroupHelpText(const std::string& name, const std::vector<Command>& group) {
  return absl::StrCat("Usage: hone ", name, " COMMAND [flags]\n\nCommands:\n", CommandRows(group), "\n`hone ", name,
                      " COMMAND --help` shows a command's flags.\n");
}

std::string HelpText() {
  std::string text = R"(hone trains reasoning models by reinforcement learning.

Examples:
  hone data make small-world --out runs/quickstart-data
  hone up --run recipes/quickstart.yaml --exit       everything on this machine, one run, then the end
  hone run recipes/quickstart.yaml --dry-run         the run file with every default, and its hash
  hone status                                        runs and processes

Commands:
)";
  absl::StrAppend(&text, CommandRows(Commands()));
  absl::StrAppend(&text, "\n`hone COMMAND --help` shows a command's flags; `hone help exit-codes` the exit codes.\n");
  return text;
}

int RunHelp(const std::vector<std::string>& args) {
  if (args.empty()) {
    Print(HelpText());
    return kExitOk;
  }
  if (args[0] == "exit-codes") {
    Print(kExitCodeHelp);
    return kExitOk;
  }
  std::vector<std::string> with_help = args;
  with_help.push_back("--help");
  return Dispatch(with_help);
}

int UnknownCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::vector<std::string> second;  // of commands that begin with args[0]
  for (const Command& command : Group(args[0])) second.push_back(command.name.substr(args[0].size() + 1));
  for (const Command& command : Commands()) {
    names.push_back(command.name);
    const size_t space = command.name.find(' ');
    if (space != std::string::npos) names.push_back(command.name.substr(0, space));
  }
  if (!second.empty()) {
    const bool given = args.size() > 1 && !args[1].starts_with("-");
    const std::string near = given ? NearestName(args[1], second) : "";
    std::string known;
    for (const std::string& name : second) absl::StrAppend(&known, known.empty() ? "" : ", ", name);
    Note(absl::StrCat(given ? absl::StrCat("'", args[0], " ", args[1], "' is no command; ")
                            : absl::StrCat("'", args[0], "' needs a second word; "),
                      near.empty() ? absl::StrCat("expected one of: ", known)
                                   : absl::StrCat("did you mean 'hone ", args[0], " ", near, "'?")));
    return kExitUsage;
  }
  const std::string near = NearestName(args[0], names);
  Note(absl::StrCat(
      "'", args[0], "' is no command; ",
      near.empty() ? std::string("`hone help` lists them") : absl::StrCat("did you mean 'hone ", near, "'?")));
  return kExitUsage;
}

}  // namespace

const std::vector<Command>& Commands() {
  static const auto* const kCommands = new std::vector<Command>{
      {"up", "start all processes on this machine, and perhaps a run", RunUp},
      {"down", "stop a `hone up --detach`", RunDown},
      {"run", "start a run on a running coordinator", RunRun},
      {"status", "runs and processes, or one run in detail", RunStatus},
      {"watch", "follow a run until it ends", RunWatch},
      {"samples", "what the model wrote, and its rewards", RunSamples},
      {"metrics", "the figures of each step", RunMetrics},
      {"stop", "stop a run, after a checkpoint", RunStop},
      {"pause", "let a run rest", RunPause},
      {"resume", "let a paused, stopped or failed run go on", RunResume},
      {"export", "write a run's weights as a Hugging Face folder", RunExport},
      {"generate", "complete prompts with a model folder, on this machine", RunGenerate},
      {"serve", "serve a model folder: the OpenAI API, and gRPC", RunServe},
      {"model import", "make a Hugging Face folder of a GGUF file", RunModelImport},
      {"model hash", "the canonical hash of a model folder's weights", RunModelHash},
      {"data make", "write a synthetic data set (small-world)", RunDataMake},
      {"data get", absl::StrCat("fetch a public data set (", corpus::KnownDatasetNames(), ")"), RunDataGet},
      {"data filter", "keep the problems within a range of pass rates", RunDataFilter},
      {"version", "version and schema", RunVersion},
      {"help", "this page, or a command's", RunHelp},
  };
  return *kCommands;
}

int Dispatch(const std::vector<std::string>& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h") {
    Print(HelpText());
    return args.empty() ? kExitUsage : kExitOk;
  }
  if (args[0] == "--version") return RunVersion({});
  for (const Command& command : Commands()) {
    const size_t space = command.name.find(' ');
    const bool two = space != std::string::npos;
    if (args[0] != command.name.substr(0, space)) continue;
    if (two && (args.size() < 2 || args[1] != command.name.substr(space + 1))) continue;
    return command.run(std::vector<std::string>(args.begin() + (two ? 2 : 1), args.end()));
  }
  if (args.size() > 1 && (args[1] == "--help" || args[1] == "-h")) {
    if (const std::vector<Command> group = Group(args[0]); !group.empty()) {
      Print(GroupHelpText(args[0], group));
      return kExitOk;
    }
  }
  return UnknownCommand(args);
}

FlagParser MakeFlags(const std::string& name, const std::string& summary, const std::vector<std::string>& examples) {
  std::string text = summary;
  if (!examples.empty()) text += "\n\nExamples:";
  for (const std::string& example : examples) absl::StrAppend(&text, "\n  ", example);
  return FlagParser("hone " + name, text);
}

std::optional<int> ParseArgs(FlagParser* flags, const std::string& name, const std::vector<std::string>& args) {
  std::vector<const char*> argv = {name.c_str()};
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  const absl::Status status = flags->Parse(static_cast<int>(argv.size()), argv.data());
  if (status.ok()) return std::nullopt;
  if (absl::IsCancelled(status)) return kExitOk;
  Note(absl::StrCat(name, ": ", std::string(status.message())));
  return kExitUsage;
}

std::optional<int> ParseArgs(FlagParser* flags, const std::string& name, const Positional& positional,
                             const std::vector<std::string>& args, std::vector<std::string>* values) {
  flags->AllowPositional(values, positional.usage);
  if (const std::optional<int> exit = ParseArgs(flags, name, args)) return exit;
  if (values->size() >= positional.least && values->size() <= positional.most) return std::nullopt;
  Note(absl::StrCat(name, ": expected ", positional.usage,
                    values->size() > positional.most
                        ? absl::StrCat(" and nothing more, got '", values->at(positional.most), "'")
                        : std::string(", got nothing"),
                    "; see `hone ", name, " --help`"));
  return kExitUsage;
}

}  // namespace hone::cli
