#include "base/logging.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>
#include <string>

namespace hone {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::mutex g_name_mutex;
std::string& ProcessName() {
  static auto* name = new std::string("hone");
  return *name;
}

}  // namespace

void SetLogLevel(LogLevel level) { g_level = level; }
void SetLogProcessName(std::string_view name) {
  std::lock_guard lock(g_name_mutex);
  ProcessName() = std::string(name);
}
bool LogEnabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

namespace internal {

LogLine::~LogLine() {
  using std::chrono::system_clock;
  const auto now = system_clock::now();
  const std::time_t seconds = system_clock::to_time_t(now);
  const int millis =
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time_text[32];
  std::strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &utc);
  const char* slash = std::strrchr(file_, '/');
  std::string name;
  {
    std::lock_guard lock(g_name_mutex);
    name = ProcessName();
  }
  char head[256];
  std::snprintf(head, sizeof(head), "%s.%03dZ %c %s[%d] %s:%d ", time_text, millis, "DIWE"[static_cast<int>(level_)],
                name.c_str(), getpid(), slash ? slash + 1 : file_, line_);
  const std::string text = head + stream_.str() + "\n";
  // One write call, so that lines of several threads never mix.
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

}  // namespace internal
}  // namespace hone
