#include "rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace hone {

absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& listen) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat("listen address: expected host:port, got '", listen, "'"));
  };
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == listen.size()) return bad();
  ListenAddress parsed{listen.substr(0, colon), listen.substr(colon + 1)};
  if (parsed.port.size() > 5 || parsed.port.find_first_not_of("0123456789") != std::string::npos) return bad();
  if (std::stoi(parsed.port) > 65535) return bad();
  if (parsed.host.front() == '[' && parsed.host.back() == ']') {
    parsed.bracketed = true;
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  }
  if (parsed.host.empty() || (!parsed.bracketed && parsed.host.find(':') != std::string::npos)) return bad();
  return parsed;
}

std::string WhyNotBound(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int rc = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found); rc != 0) {
    return gai_strerror(rc);
  }
  std::string why = "the server could not be started";
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1) != 0) why = std::strerror(errno);
    close(fd);
  }
  freeaddrinfo(found);
  return why;
}

std::string ReachableHost(const ListenAddress& address) {
  if (address.host != "0.0.0.0" && address.host != "::") {
    return address.bracketed ? absl::StrCat("[", address.host, "]") : address.host;
  }
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

}  // namespace hone
