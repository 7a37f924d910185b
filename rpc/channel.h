// Client channels between Hone's processes.
//
// Plain text (no TLS), keepalive pings in step with rpc/server.h, messages up to 64 MiB, quick reconnection (at most
// one second between attempts, so that a restarted peer is found at once), no HTTP proxy. A channel is thread-safe and
// connects lazily: creating one never fails; calls on an address where nobody listens end with UNAVAILABLE.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "rpc/limits.h"

namespace grpc {
class Channel;
class ClientContext;
}  // namespace grpc

namespace hone {

// `address` is "host:port".
std::shared_ptr<grpc::Channel> CreateChannel(const std::string& address);

// Ends the call with DEADLINE_EXCEEDED where it has no answer after `timeout`. A long poll's deadline is its `wait`
// plus a margin.
void SetDeadline(grpc::ClientContext& context, absl::Duration timeout);

}  // namespace hone
