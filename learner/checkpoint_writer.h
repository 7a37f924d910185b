// Writes a checkpoint while training goes on (checkpoints.asynchronous).
#pragma once

#include <atomic>
#include <string>
#include <thread>

#include "base/status.h"
#include "learner/checkpoint.h"

namespace hone::learner {

// One write at a time, on a thread of its own. Not thread-safe. The destructor waits for the write.
class CheckpointWriter {
 public:
  CheckpointWriter() = default;
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Copies all that the source points to. To be called with no write pending.
  void Begin(const CheckpointSource& source, const std::string& parent_directory);
  bool pending() const { return thread_.joinable(); }
  // True where a write is pending and has ended: Wait answers at once.
  bool ended() const { return ended_; }
  // The pending write's result, as WriteCheckpoint gives it.
  absl::StatusOr<std::string> Wait();

 private:
  struct Copy {
    CheckpointState state;
    model::ModelConfig config;
    ModelFiles files;
    model::FlatTensor masters, previous;
    Moments first_moment, second_moment;
  };

  Copy copy_;
  std::thread thread_;
  std::atomic<bool> ended_{false};
  absl::StatusOr<std::string> result_ = absl::InternalError("no checkpoint was written");  // by thread_, until joined
};

}  // namespace hone::learner
