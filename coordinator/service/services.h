// The coordinator's gRPC services: they translate between gRPC and Coordinator, and nothing else.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "coordinator/service/coordinator.h"

namespace hone::coordinator {

// `coordinator` must outlive the service.
std::unique_ptr<grpc::Service> MakeControlService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeCoordinatorService(Coordinator* coordinator);

}  // namespace hone::coordinator
