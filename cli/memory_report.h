// The memory plan of `--dry-run`: what a run will take, beside what this machine has.
#pragma once

#include <cstdint>
#include <string>

#include "hone/v1/control.pb.h"
#include "hone/v1/run.pb.h"
#include "rollout_worker/worker.h"

namespace hone::cli {

// What the plan is made for.
struct Machine {
  int64_t available_bytes = 0;  // 0 = unknown
  int threads = 1;              // of a learner
};
// MemAvailable of /proc/meminfo, and the cores.
Machine ThisMachine();

// Reads config.json of the models that the resolved run's stages start from. `worker` are the flags that the rollout
// worker gets. Never fails: where a config.json cannot be read, `unavailable` says why.
v1::MemoryPlan MakeMemoryPlan(const v1::RunSpec& resolved, const Machine& machine, const Worker::Options& worker = {});

// The plan for people: lines that begin with "# ", as the rest of a dry run's head.
std::string MemoryText(const v1::MemoryPlan& plan);

}  // namespace hone::cli
