#include "base/flags.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/strings.h"

namespace hone {
namespace {

absl::Status BadValue(const std::string& flag, const char* expected, const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": expected ", expected, ", got '", text, "'"));
}

bool ParseBool(const std::string& text, bool* value) {
  if (text == "true" || text == "1" || text == "yes" || text == "on") return *value = true, true;
  if (text == "false" || text == "0" || text == "no" || text == "off") return *value = false, true;
  return false;
}

absl::Status ApplyLogLevel(const std::string& name) {
  const char* const names[] = {"debug", "info", "warning", "error"};
  for (int level = 0; level < 4; ++level) {
    if (name != names[level]) continue;
    SetLogLevel(static_cast<LogLevel>(level));
    return absl::OkStatus();
  }
  return BadValue("log_level", "debug, info, warning or error", name);
}

struct Describe {
  std::string operator()(const std::string* v) const { return *v; }
  std::string operator()(const int* v) const { return absl::StrCat(*v); }
  std::string operator()(const int64_t* v) const { return absl::StrCat(*v); }
  std::string operator()(const bool* v) const { return *v ? "true" : ""; }
  std::string operator()(const double* v) const { return absl::StrCat(*v); }
  std::string operator()(const std::vector<std::string>*) const { return ""; }
};

struct TypeName {
  const char* operator()(const std::string*) const { return " VALUE"; }
  const char* operator()(const int*) const { return " N"; }
  const char* operator()(const int64_t*) const { return " N"; }
  const char* operator()(const bool*) const { return ""; }
  const char* operator()(const double*) const { return " NUMBER"; }
  const char* operator()(const std::vector<std::string>*) const { return " VALUE ..."; }
};

}  // namespace

FlagParser::FlagParser(std::string program, std::string summary)
    : program_(std::move(program)), summary_(std::move(summary)) {}

void FlagParser::AddFlag(const std::string& name, Target target, const std::string& help) {
  HONE_CHECK(Find(name) == nullptr) << "flag --" << name << " is defined twice";
  flags_.push_back({name, target, help, std::visit(Describe(), target)});
}
void FlagParser::Add(const std::string& name, std::string* value, const std::string& help) {
  AddFlag(name, value, help);
}
void FlagParser::Add(const std::string& name, int* value, const std::string& help) { AddFlag(name, value, help); }
void FlagParser::Add(const std::string& name, int64_t* value, const std::string& help) { AddFlag(name, value, help); }
void FlagParser::Add(const std::string& name, bool* value, const std::string& help) { AddFlag(name, value, help); }
void FlagParser::Add(const std::string& name, double* value, const std::string& help) { AddFlag(name, value, help); }
void FlagParser::Add(const std::string& name, std::vector<std::string>* values, const std::string& help) {
  AddFlag(name, values, help);
}

void FlagParser::AddLogLevel() { Add("log_level", &log_level_, "debug, info, warning or error"); }

void FlagParser::AllowPositional(std::vector<std::string>* values, const std::string& usage) {
  positional_ = values;
  positional_usage_ = usage;
}

const FlagParser::Flag* FlagParser::Find(const std::string& name) const {
  for (const Flag& flag : flags_) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

absl::Status FlagParser::Unknown(const std::string& name) const {
  std::vector<std::string> names = {"help"};
  for (const Flag& flag : flags_) names.push_back(flag.name);
  const std::string nearest = NearestName(name, names);
  return absl::InvalidArgumentError(absl::StrCat("unknown flag --", name,
                                                 nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?"),
                                                 " (--help lists all flags)"));
}

absl::Status FlagParser::Set(const Flag& flag, const std::string& text) {
  if (auto* const* s = std::get_if<std::string*>(&flag.target)) {
    **s = text;
  } else if (auto* const* i = std::get_if<int*>(&flag.target)) {
    if (!absl::SimpleAtoi(text, *i)) return BadValue(flag.name, "an integer", text);
  } else if (auto* const* l = std::get_if<int64_t*>(&flag.target)) {
    if (!absl::SimpleAtoi(text, *l)) return BadValue(flag.name, "an integer", text);
  } else if (auto* const* b = std::get_if<bool*>(&flag.target)) {
    if (!ParseBool(text, *b)) return BadValue(flag.name, "true or false", text);
  } else if (auto* const* d = std::get_if<double*>(&flag.target)) {
    if (!absl::SimpleAtod(text, *d)) return BadValue(flag.name, "a number", text);
  } else {
    std::get<std::vector<std::string>*>(flag.target)->push_back(text);
  }
  return absl::OkStatus();
}

absl::Status FlagParser::Parse(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool is_flag = arg.size() > 2 && arg.compare(0, 2, "--") == 0;
    if (arg == "-h" || arg == "--help") {
      std::fputs(Help().c_str(), stdout);
      return absl::CancelledError("help was asked for");
    }
    if (!is_flag) {
      if (positional_ == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("expected a flag (--name=value), got '", arg, "'"));
      }
      if (arg != "--") {
        positional_->push_back(arg);
        continue;
      }
      for (++i; i < argc; ++i) positional_->push_back(argv[i]);
      break;
    }
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
    const Flag* flag = Find(name);
    if (flag == nullptr && equals == std::string::npos && name.compare(0, 2, "no") == 0) {
      const Flag* negated = Find(name.substr(2));
      if (negated != nullptr && std::holds_alternative<bool*>(negated->target)) {
        *std::get<bool*>(negated->target) = false;
        continue;
      }
    }
    if (flag == nullptr) return Unknown(name);
    if (equals != std::string::npos) {
      HONE_RETURN_IF_ERROR(Set(*flag, arg.substr(equals + 1)));
    } else if (std::holds_alternative<bool*>(flag->target)) {
      *std::get<bool*>(flag->target) = true;
    } else if (i + 1 < argc) {
      HONE_RETURN_IF_ERROR(Set(*flag, argv[++i]));
    } else {
      return absl::InvalidArgumentError(absl::StrCat("--", name, ": a value is missing"));
    }
  }
  return ApplyLogLevel(log_level_);
}

std::string FlagParser::Help() const {
  std::string text =
      absl::StrCat("Usage: ", program_, flags_.empty() ? "" : " [flags]", positional_usage_.empty() ? "" : " ",
                   positional_usage_, "\n", summary_, "\n\nFlags:\n");
  const std::string help_head = "  --help";
  std::vector<std::string> heads;
  size_t width = help_head.size();
  for (const Flag& flag : flags_) {
    heads.push_back(absl::StrCat("  --", flag.name, std::visit(TypeName(), flag.target)));
    width = std::max(width, heads.back().size());
  }
  for (size_t i = 0; i < flags_.size(); ++i) {
    absl::StrAppend(&text, heads[i], std::string(width + 2 - heads[i].size(), ' '), flags_[i].help,
                    flags_[i].default_text.empty() ? "" : absl::StrCat(" (default: ", flags_[i].default_text, ")"),
                    "\n");
  }
  absl::StrAppend(&text, help_head, std::string(width + 2 - help_head.size(), ' '), "this page\n");
  return text;
}

int FlagParser::Exit(const absl::Status& status) {
  if (absl::IsCancelled(status)) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 2;
}

}  // namespace hone
