// The settings that a preset of run.proto stands for. Private to run_config.
#pragma once

#include "hone/v1/run.pb.h"

namespace hone::internal {

// Only what differs from AlgorithmSpec's defaults is set; nothing for UNSPECIFIED.
v1::AlgorithmSpec PresetSettings(v1::AlgorithmPreset preset);

}  // namespace hone::internal
