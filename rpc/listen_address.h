// Where a server listens: host:port, and what can be said of it.
#pragma once

#include <string>

#include "base/status.h"

namespace hone {

struct ListenAddress {
  std::string host;  // without brackets
  std::string port;  // digits, at most 65535; "0" = any free one
  bool bracketed = false;
};

// "host:port" or "[host]:port". INVALID_ARGUMENT: it is neither.
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& listen);

// Binds once more to tell why a server could not: "Address already in use".
std::string WhyNotBound(const ListenAddress& address);

// The host as others reach it: this machine's name for a wildcard (0.0.0.0, [::]).
std::string ReachableHost(const ListenAddress& address);

}  // namespace hone
