// Status helpers: the macros that Debian's Abseil lacks, and errno as a Status.
//
// Every boundary (file, RPC, device, config) returns absl::Status or absl::StatusOr. A message says what was expected,
// what came, and which object it concerns.
#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hone {

// The Status of `errno_value` (as left by a system call), with "<what>: <strerror>" as message.
// ENOENT -> NOT_FOUND, EEXIST -> ALREADY_EXISTS, EACCES/EPERM -> PERMISSION_DENIED, ENOSPC/EDQUOT ->
// RESOURCE_EXHAUSTED, EAGAIN/EWOULDBLOCK -> UNAVAILABLE, others -> INTERNAL.
absl::Status ErrnoStatus(int errno_value, std::string_view what);

// `status` with "<prefix>: " put before its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

}  // namespace hone

#define HONE_RETURN_IF_ERROR(expr)                                                     \
  do {                                                                                 \
    if (::absl::Status hone_status_ = (expr); !hone_status_.ok()) return hone_status_; \
  } while (false)

#define HONE_STATUS_CONCAT_INNER_(a, b) a##b
#define HONE_STATUS_CONCAT_(a, b) HONE_STATUS_CONCAT_INNER_(a, b)
#define HONE_ASSIGN_OR_RETURN(lhs, expr) HONE_ASSIGN_OR_RETURN_IMPL_(HONE_STATUS_CONCAT_(hone_or_, __LINE__), lhs, expr)
#define HONE_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return std::move(tmp).status();    \
  lhs = std::move(tmp).value()
