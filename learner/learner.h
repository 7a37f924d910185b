// The learner: asks the coordinator for work, does it, asks again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"

namespace hone::learner {

// A process's learner: its gRPC server (WeightService), its membership, its loop. Run belongs to one thread.
class Learner {
 public:
  struct Options {
    std::string coordinator;             // host:port
    std::string listen = "127.0.0.1:0";  // of the weight service
    std::string address_file;            // "" = none
    int threads = 0;                     // for compute; <= 0: one per core
    std::function<bool()> cancelled;     // true: shut down
  };
  static absl::StatusOr<std::unique_ptr<Learner>> Create(const Options& options);
  ~Learner();
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  // Works until cancelled (OK) or until another learner has taken this one's place (ABORTED): then the process should
  // end, for two learners that register in turn would fence each other for ever.
  absl::Status Run();

 private:
  struct Impl;
  explicit Learner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::learner
