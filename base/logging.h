// Structured-enough logging to stderr: one line a message, "<UTC time> <level> <process> <file:line> <message>".
// Thread-safe. Level from SetLogLevel (the programs' --log_level flag); default INFO.
#pragma once

#include <sstream>
#include <string_view>

namespace hone {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

void SetLogLevel(LogLevel level);
// Name shown in each line, e.g. "learner".
void SetLogProcessName(std::string_view name);
bool LogEnabled(LogLevel level);

namespace internal {
class LogLine {
 public:
  LogLine(LogLevel level, const char* file, int line) : level_(level), file_(file), line_(line) {}
  ~LogLine();
  std::ostream& stream() { return stream_; }

 private:
  LogLevel level_;
  const char* file_;
  int line_;
  std::ostringstream stream_;
};
}  // namespace internal
}  // namespace hone

#define HONE_LOG_(level) \
  if (::hone::LogEnabled(level)) ::hone::internal::LogLine(level, __FILE__, __LINE__).stream()
#define HONE_DEBUG HONE_LOG_(::hone::LogLevel::kDebug)
#define HONE_INFO HONE_LOG_(::hone::LogLevel::kInfo)
#define HONE_WARNING HONE_LOG_(::hone::LogLevel::kWarning)
#define HONE_ERROR HONE_LOG_(::hone::LogLevel::kError)
