// HONE_CHECK: for broken invariants only, never for input. A failure prints file, line, condition and message, then
// aborts.
#pragma once

#include <sstream>
#include <string>

namespace hone::internal {

class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

struct CheckVoidify {
  void operator&(std::ostream&) const {}
};

}  // namespace hone::internal

#define HONE_CHECK(condition) \
  (condition)                 \
      ? static_cast<void>(0)  \
      : ::hone::internal::CheckVoidify() & ::hone::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()
#define HONE_CHECK_EQ(a, b) HONE_CHECK((a) == (b)) << "(" << (a) << " vs " << (b) << ") "
#define HONE_CHECK_OK(expr) \
  if (auto hone_check_status_ = (expr); !hone_check_status_.ok()) HONE_CHECK(false) << hone_check_status_.ToString()
