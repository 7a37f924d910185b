// The rollout worker: leases groups from the coordinator, generates them with the version they ask for, has them scored
// and hands them in; beside that it serves RolloutService on the weights it holds.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "rollout_worker/engine/engine.h"

namespace hone {

// Owns its threads. Run may be called once; the destructor stops everything.
//
// Invariants:
//   1. No token is sampled from a version that is not whole and checked, nor from another than its task names.
//   2. A generated group is given up only where the coordinator refuses it or the process ends.
//   3. What only this worker's memory cannot hold is declined, so that another may do it: no flag of a worker leaves a
//   trace in a run's results.
//   4. While coordinator, learner or reward server are away the worker tries again; it ends only when told to.
//   5. A worker whose engine stands still does not keep its groups: it neither beats nor renews leases.
class Worker {
 public:
  struct Options {
    std::string coordinator = "127.0.0.1:7070";
    std::string listen = "127.0.0.1:0";
    std::string address_file;
    int threads = 0;           // 0 = one per core
    int kv_memory_mib = 1024;  // upper limit of the KV cache
    int max_sequences = 256;   // in flight at once
    int page_tokens = 64;
    // After so long without a step of the engine the worker keeps silent, and after so long without any answer of a
    // reward server that lives it declines what it cannot have scored: its groups go to others. 0 = never.
    int stall_seconds = 300;
  };
  // The engine that a worker of these options runs.
  static engine::Engine::Options EngineOptions(const Options& options);
  // INVALID_ARGUMENT: an option out of range (named); UNAVAILABLE: the port is in use.
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const Options& options);
  ~Worker();

  // Works until `cancelled` turns true (asked at least every 50 ms while idle, between steps otherwise).
  absl::Status Run(const std::function<bool()>& cancelled);
  // Where RolloutService is served.
  std::string address() const;

 private:
  struct Impl;
  explicit Worker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone
