// The one bridge between gRPC's status and Abseil's: equal codes, equal messages.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace hone {

absl::Status FromGrpc(const grpc::Status& status);
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace hone
