// Command-line flags of Hone's programs: --name=value, --name value, and for booleans --name, --noname, --name=false.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"

namespace hone {

// Not thread-safe; the variables given to Add must outlive Parse. A variable's value before Parse is the flag's
// default.
//
//   FlagParser flags("hone-reward-server", "Scores groups of completions.");
//   flags.Add("listen", &listen, "host:port to serve at; port 0 = any free one");
//   if (const absl::Status status = flags.Parse(argc, argv); !status.ok()) return FlagParser::Exit(status);
class FlagParser {
 public:
  FlagParser(std::string program, std::string summary);

  void Add(const std::string& name, std::string* value, const std::string& help);
  void Add(const std::string& name, int* value, const std::string& help);
  void Add(const std::string& name, int64_t* value, const std::string& help);
  void Add(const std::string& name, bool* value, const std::string& help);
  void Add(const std::string& name, double* value, const std::string& help);
  // May be given several times; each value is appended.
  void Add(const std::string& name, std::vector<std::string>* values, const std::string& help);
  // --log_level: debug, info (default), warning or error; Parse applies it.
  void AddLogLevel();
  // Arguments that are not flags go here, in order (also everything after a lone "--"); without this call they are an
  // error. `usage` is shown in the help, e.g. "RUN_FILE".
  void AllowPositional(std::vector<std::string>* values, const std::string& usage);

  // Skips argv[0]. INVALID_ARGUMENT: unknown flag (with the nearest known one), missing or ill-typed value; the message
  // names the flag. CANCELLED: --help was given; Help() has been printed to stdout.
  absl::Status Parse(int argc, const char* const* argv);

  // One page: usage line, summary, one entry for each flag with its default.
  std::string Help() const;

  // What main should return for a status of Parse: 0 after --help, else 2, with the message printed to stderr.
  static int Exit(const absl::Status& status);

 private:
  using Target = std::variant<std::string*, int*, int64_t*, bool*, double*, std::vector<std::string>*>;
  struct Flag {
    std::string name;
    Target target;
    std::string help;
    std::string default_text;
  };
  void AddFlag(const std::string& name, Target target, const std::string& help);
  const Flag* Find(const std::string& name) const;
  absl::Status Unknown(const std::string& name) const;
  static absl::Status Set(const Flag& flag, const std::string& text);

  std::string program_;
  std::string summary_;
  std::string log_level_ = "info";
  std::string positional_usage_;
  std::vector<std::string>* positional_ = nullptr;
  std::vector<Flag> flags_;
};

}  // namespace hone
